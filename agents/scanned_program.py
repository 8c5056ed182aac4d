"""Many gradient steps as one compiled program over all devices.

Shapes: `D` devices of `H` hosts, `B` batch rows, `S` gradient steps per call,
`T` transitions of a resident dataset.
"""

from typing import Any, Callable, NamedTuple, Tuple

import jax
import numpy as np

from . import divergence
from . import metrics as metrics_lib
from . import parallel
from . import sharding

# Whether each device holds the whole resident dataset or a part of it. Parts
# are exchanged for every minibatch.
RESIDENT_DATA = ('replicated', 'sharded')

# One gradient step on each device, `step(state, transition [B, ...])`.
Step = Callable[[Any, Any], Tuple[Any, metrics_lib.StepMetrics]]


class ResidentData(NamedTuple):
  """A dataset on the devices.

  Attributes:
    transitions: `[D, T, ...]`, or parts `[D, C, ...]` if it is sharded.
    size: T, `[D]`.
  """
  transitions: Any
  size: Any


def make_programs(
    step: Step,
    shard: sharding.Shard,
    num_sgd_steps_per_step: int,
    batch_size: int,
    resident_data: str = 'replicated',
    num_hosts: int = 1,
) -> Tuple[Callable[..., Any], Callable[..., Any]]:
  """Makes the programs that each device runs, not compiled yet.

  Args:
    step: one gradient step.
    shard: how critics are divided over devices.
    num_sgd_steps_per_step: S.
    batch_size: B.
    resident_data: one of `RESIDENT_DATA`; minibatches are the same for both.
    num_hosts: H.

  Returns:
    Two functions that run S gradient steps and return the new state and the
    average metrics. The first, `run_resident(state, data)`, draws minibatches
    with replacement from a `ResidentData` of T transitions. The second,
    `run_batches(state, batches)`, takes the minibatches in turn from the
    devices' parts, `[S, b, ...]`.
  """

  def run(state, next_batch, batches):

    def body(state, batch):
      return step(*next_batch(state, batch))

    state, steps = jax.lax.scan(
        body, state, batches, length=num_sgd_steps_per_step)
    return state, metrics_lib.average(steps, shard, state)

  def run_resident(state, data):

    def next_batch(state, unused):
      del unused
      key, sample_key = jax.random.split(state.key)
      rows = jax.random.randint(sample_key, (batch_size,), 0, data.size)
      if resident_data == 'sharded':
        batch = sharding.take_rows(data.transitions, rows)
      else:
        batch = jax.tree.map(lambda x: x[rows], data.transitions)
      return state._replace(key=key), batch

    return run(state, next_batch, None)

  def run_batches(state, batches):
    batches = sharding.all_rows_of_minibatches(batches, batch_size, num_hosts)
    return run(state, lambda state, batch: (state, batch), batches)

  return run_resident, run_batches


class Program:
  """Holds a training state on devices and runs S gradient steps per call.

  All randomness comes from the state's key, so that the same state on the same
  devices gives the same bits.

  Attributes:
    num_traces: number of times that the steps were traced: one for each of
      `run_resident` and `run_batches`, unless shapes change.
  """

  def __init__(
      self,
      step: Step,
      state: Any,
      is_split: Any,
      shard: sharding.Shard,
      devices: parallel.ParallelMap,
      num_sgd_steps_per_step: int,
      batch_size: int,
      resident_data: str = 'replicated',
  ):
    """Puts the state on the devices.

    Args:
      step: one gradient step.
      state: a NamedTuple of arrays with a field `key`, members `[N, ...]`.
      is_split: tree of bool like `state`: which arrays are split over devices
        along their first axis.
      shard: how critics are divided over devices.
      devices: the D devices to run on.
      num_sgd_steps_per_step: S.
      batch_size: B.
      resident_data: one of `RESIDENT_DATA`; minibatches are the same for both.
    """
    self._is_split = is_split
    self._num_members = shard.num_members
    self._devices = devices
    self._state = devices.split(state, is_split)
    self._num_sgd_steps_per_step = num_sgd_steps_per_step
    self._batch_size = batch_size
    self._is_sharded = resident_data == 'sharded'
    self.num_traces = 0

    def counted(program):
      def traced(*args):
        self.num_traces += 1
        return program(*args)
      return traced

    self._run_resident, self._run_batches = (
        devices.compile(counted(program), donate_argnums=(0,))
        for program in make_programs(
            step, shard, num_sgd_steps_per_step, batch_size, resident_data,
            devices.num_hosts))

  def put_dataset(self, data: Any) -> ResidentData:
    """Puts a dataset `[T, ...]` on the devices; each host passes all of it."""
    put = (self._devices.split_rows if self._is_sharded
           else self._devices.replicate)
    size = np.asarray(len(data.reward), np.int32)
    return ResidentData(put(data), self._devices.replicate(size))

  def run_resident(self, data: ResidentData) -> metrics_lib.Averages:
    """Runs S gradient steps on a dataset from `put_dataset`.

    Args:
      data: the dataset.

    Returns:
      Metrics on the device; see `metrics.average` and `metrics.to_host`.
    """
    self._state, metrics = self._run_resident(self._state, data)
    return metrics

  def run_batches(self, batch: Any) -> metrics_lib.Averages:
    """Runs S gradient steps on S concatenated minibatches.

    Each device is given a part of the rows and gets the others by a collective.

    Args:
      batch: this host's B/H rows of each minibatch, `[S * B/H, ...]` arrays on
        the host. Hosts hold the rows of a minibatch in order.

    Returns:
      Metrics, as from `run_resident`.

    Raises:
      ValueError: if the batch has another number of rows, or if H does not
        divide B.
    """
    steps, num_hosts = self._num_sgd_steps_per_step, self._devices.num_hosts
    if self._batch_size % num_hosts:
      raise ValueError(
          f'batch_size={self._batch_size} cannot be divided over {num_hosts} '
          'hosts; change it.')
    rows = self._batch_size // num_hosts

    def to_devices(x):
      if len(x) != steps * rows:
        hosts = f' on each of {num_hosts} hosts' if num_hosts > 1 else ''
        raise ValueError(
            f'The dataset\'s batches have {len(x)} transitions, but '
            f'num_sgd_steps_per_step={steps} times batch_size='
            f'{self._batch_size} needs {steps * rows}{hosts}.')
      return self._devices.local_parts(
          np.reshape(x, (steps, rows) + np.shape(x)[1:]), axis=1)
    batches = self._devices.put(jax.tree.map(to_devices, batch))
    self._state, metrics = self._run_batches(self._state, batches)
    return metrics

  @property
  def state(self) -> Any:
    """The training state as NumPy arrays, members `[N, ...]`."""
    return self._devices.gather(self._state, self._is_split)

  @state.setter
  def state(self, state: Any):
    self._state = self._devices.split(state, self._is_split)

  @property
  def global_state(self) -> Any:
    """The training state, with split arrays left on their devices."""
    return self._devices.global_arrays(self._state, self._is_split)

  def get(self, name: str) -> Any:
    """Returns a field of the state as NumPy arrays, members `[N, ...]`."""
    return self._devices.gather(
        getattr(self._state, name), getattr(self._is_split, name))

  def explain(self, averages: metrics_lib.Averages,
              remedy: str) -> divergence.DivergenceError:
    """Returns the error of a learner step that was not finite.

    Args:
      averages: what the last step returned.
      remedy: see `divergence.make_error`.
    """
    return divergence.make_error(
        averages, self.state, self._is_split, self._num_members,
        self._num_sgd_steps_per_step, remedy)

  def assert_replicated(self):
    """Raises AssertionError if replicated arrays differ between devices."""
    self._devices.assert_is_replicated(jax.tree.map(
        lambda x, is_split: () if is_split else x,
        self._state, self._is_split))
