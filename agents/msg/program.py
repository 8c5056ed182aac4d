"""Many gradient steps as one compiled program over all devices.

Shapes: `D` devices, `B` batch rows, `S` gradient steps per call, `T`
transitions of a resident dataset.
"""

from typing import Any, Dict, Sequence

import jax
import numpy as np

from . import config as msg_config
from . import metrics as metrics_lib
from . import sharding
from . import update
from ... import networks as networks_lib


class Program:
  """Holds a training state on devices and runs S gradient steps per call.

  Everything random comes from the state's key: the same state on the same
  devices gives the same bits.
  """

  def __init__(self, networks: networks_lib.MSGNetworks,
               config: msg_config.MSGConfig, key: jax.Array,
               devices: Sequence[Any]):
    """Initialises a state and puts it on devices.

    Args:
      networks: policy and critics.
      config: the agent's options.
      key: seeds parameters and all later randomness.
      devices: the D devices to run on.

    Raises:
      ValueError: if D does not divide the ensemble (or the batch).
    """
    self._devices = list(devices)
    self._optimizers = update.make_optimizers(config)
    shard = sharding.make_shard(
        networks.critic, config.batch_size, len(self._devices))
    state = jax.jit(
        lambda k: update.init_state(k, networks, self._optimizers))(key)
    self._is_split = update.split_leaves(
        state, networks.critic, self._optimizers, len(self._devices))
    self._state = sharding.split(state, self._is_split, self._devices)
    self.num_traces = 0

    step = update.make_update_step(networks, config, self._optimizers, shard)
    num_steps, batch_size = config.num_sgd_steps_per_step, config.batch_size

    def run(state, next_batch, batches):
      self.num_traces += 1

      def body(state, batch):
        return step(*next_batch(state, batch))

      state, steps = jax.lax.scan(body, state, batches, length=num_steps)
      return state, metrics_lib.average(steps, shard)

    def run_resident(state, data):
      """Draws minibatches with replacement from `data [T, ...]`."""
      size = data.reward.shape[0]

      def next_batch(state, unused):
        del unused
        key, sample_key = jax.random.split(state.key)
        rows = jax.random.randint(sample_key, (batch_size,), 0, size)
        return (state._replace(key=key), jax.tree.map(lambda x: x[rows], data))

      return run(state, next_batch, None)

    def run_batches(state, batches):
      """Takes minibatches in turn from `batches [S, B, ...]`."""
      return run(state, lambda state, batch: (state, batch), batches)

    self._run_resident = sharding.parallel_map(
        run_resident, self._devices, donate_argnums=(0,))
    self._run_batches = sharding.parallel_map(
        run_batches, self._devices, donate_argnums=(0,))
    self._batches_shape = (num_steps, batch_size)

  def put_dataset(self, data: Any) -> Any:
    """Puts a whole dataset `[T, ...]` on each device: `[D, T, ...]`."""
    return sharding.replicate(data, self._devices)

  def run_resident(self, data: Any) -> Dict[str, Any]:
    """Runs S steps on a dataset from `put_dataset`; returns raw metrics."""
    self._state, metrics = self._run_resident(self._state, data)
    return jax.tree.map(lambda x: x[0], metrics)

  def run_batches(self, batch: Any) -> Dict[str, Any]:
    """Runs S steps on S minibatches laid end to end, `[S * B, ...]`."""
    def to_steps(x):
      return np.reshape(x, self._batches_shape + np.shape(x)[1:])
    batches = sharding.replicate(
        jax.tree.map(to_steps, batch), self._devices)
    self._state, metrics = self._run_batches(self._state, batches)
    return jax.tree.map(lambda x: x[0], metrics)

  @property
  def state(self) -> update.TrainingState:
    """The training state as NumPy arrays, members unsplit `[N, ...]`."""
    return sharding.gather(self._state, self._is_split)

  @state.setter
  def state(self, state: update.TrainingState):
    self._state = sharding.split(state, self._is_split, self._devices)

  @property
  def policy_params(self) -> Any:
    """The policy's parameters as NumPy arrays."""
    return sharding.gather(
        self._state.policy_params, self._is_split.policy_params)

  @property
  def critic_params(self) -> Any:
    """All members' parameters as NumPy arrays."""
    return sharding.gather(
        self._state.critic_params, self._is_split.critic_params)

  def assert_replicated(self):
    """Raises AssertionError if devices differ in what they should share."""
    sharding.assert_is_replicated(jax.tree.map(
        lambda x, is_split: () if is_split else x,
        self._state, self._is_split))
