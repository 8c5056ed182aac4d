"""Many gradient steps as one compiled program over all devices.

Shapes: `D` devices, `B` batch rows, `S` gradient steps per call, `T`
transitions of a resident dataset.
"""

from typing import Any, Callable, Dict, Sequence, Tuple

import jax
import numpy as np

from . import metrics as metrics_lib
from . import sharding

# Runs one gradient step: `step(state, transition [B, ...])`, on each device.
Step = Callable[[Any, Any], Tuple[Any, metrics_lib.StepMetrics]]


class Program:
  """Holds a training state on devices and runs S gradient steps per call.

  Everything random comes from the state's key: the same state on the same
  devices gives the same bits.

  Attributes:
    num_traces: how often the steps were traced; more than one for each kind of
      data is a compilation too many.
  """

  def __init__(
      self,
      step: Step,
      state: Any,
      is_split: Any,
      shard: sharding.Shard,
      devices: Sequence[Any],
      num_sgd_steps_per_step: int,
      batch_size: int,
  ):
    """Puts the state on devices.

    Args:
      step: one gradient step.
      state: a NamedTuple of arrays, members unsplit, that has a `key`.
      is_split: tree of bool, like `state`: which arrays are split over devices
        along their first axis.
      shard: how critics are spread over devices.
      devices: the D devices to run on.
      num_sgd_steps_per_step: S.
      batch_size: B.
    """
    self._is_split = is_split
    self._devices = list(devices)
    self._state = sharding.split(state, is_split, self._devices)
    self._batches_shape = (num_sgd_steps_per_step, batch_size)
    self.num_traces = 0

    def run(state, next_batch, batches):
      self.num_traces += 1

      def body(state, batch):
        return step(*next_batch(state, batch))

      state, steps = jax.lax.scan(
          body, state, batches, length=num_sgd_steps_per_step)
      return state, metrics_lib.average(steps, shard)

    def run_resident(state, data):
      """Draws minibatches with replacement from `data [T, ...]`."""
      size = data.reward.shape[0]

      def next_batch(state, unused):
        del unused
        key, sample_key = jax.random.split(state.key)
        rows = jax.random.randint(sample_key, (batch_size,), 0, size)
        return state._replace(key=key), jax.tree.map(lambda x: x[rows], data)

      return run(state, next_batch, None)

    def run_batches(state, batches):
      """Takes minibatches in turn from `batches [S, B, ...]`."""
      return run(state, lambda state, batch: (state, batch), batches)

    self._run_resident = sharding.parallel_map(
        run_resident, self._devices, donate_argnums=(0,))
    self._run_batches = sharding.parallel_map(
        run_batches, self._devices, donate_argnums=(0,))

  def put_dataset(self, data: Any) -> Any:
    """Puts a whole dataset `[T, ...]` on each device: `[D, T, ...]`."""
    return sharding.replicate(data, self._devices)

  def run_resident(self, data: Any) -> Dict[str, Any]:
    """Runs S steps on a dataset from `put_dataset`.

    Args:
      data: the dataset, `[D, T, ...]`.

    Returns:
      Metrics on the device; see `metrics.average` and `metrics.to_host`.
    """
    self._state, metrics = self._run_resident(self._state, data)
    return jax.tree.map(lambda x: x[0], metrics)

  def run_batches(self, batch: Any) -> Dict[str, Any]:
    """Runs S steps on S minibatches laid end to end, `[S * B, ...]`.

    Args:
      batch: the minibatches, arrays on the host.

    Returns:
      As `run_resident`.

    Raises:
      ValueError: if the batch does not have S * B rows.
    """
    steps, rows = self._batches_shape
    def to_steps(x):
      if np.shape(x)[0] != steps * rows:
        raise ValueError(
            f'The dataset\'s batches have {np.shape(x)[0]} transitions, but '
            f'num_sgd_steps_per_step={steps} times batch_size={rows} needs '
            f'{steps * rows}.')
      return np.reshape(x, self._batches_shape + np.shape(x)[1:])
    batches = sharding.replicate(
        jax.tree.map(to_steps, batch), self._devices)
    self._state, metrics = self._run_batches(self._state, batches)
    return jax.tree.map(lambda x: x[0], metrics)

  @property
  def state(self) -> Any:
    """The training state as NumPy arrays, members unsplit `[N, ...]`."""
    return sharding.gather(self._state, self._is_split)

  @state.setter
  def state(self, state: Any):
    self._state = sharding.split(state, self._is_split, self._devices)

  def get(self, name: str) -> Any:
    """One field of the state, as NumPy arrays, members unsplit."""
    return sharding.gather(
        getattr(self._state, name), getattr(self._is_split, name))

  def assert_replicated(self):
    """Raises AssertionError if devices differ in what they should share."""
    sharding.assert_is_replicated(jax.tree.map(
        lambda x, is_split: () if is_split else x,
        self._state, self._is_split))
