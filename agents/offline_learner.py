"""An Acme learner around a program of gradient steps."""

import itertools
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import acme
from acme import types
from acme.utils import counting
from acme.utils import loggers
import jax

from . import divergence
from . import metrics as metrics_lib
from . import scanned_program

# A whole dataset, or an iterator of batches of S * B transitions.
Dataset = Union[types.Transition, Iterator[types.Transition]]


def is_transition(x: Any) -> bool:
  """Returns whether `x` has the fields of `types.Transition`.

  `isinstance` would refuse Reverb's samples, which are other named tuples.
  """
  return getattr(x, '_fields', None) == types.Transition._fields


class OfflineLearner(acme.Learner):
  """Runs a program's gradient steps on a resident dataset or on batches.

  A dataset that is one `Transition` is put on the devices as a whole, and
  minibatches are drawn from it inside the compiled loop. If the dataset is an
  iterator, each learner step takes one batch of `S * B` transitions.

  On H hosts, each host has a learner of the same program and takes the same
  steps at the same time. It gets the whole dataset, or an iterator of batches
  of `S * B/H` transitions; see `scanned_program.Program.run_batches`. If the
  state is split over hosts, all hosts must call `save` and `get_variables` at
  the same time.
  """

  def __init__(
      self,
      program: scanned_program.Program,
      variables: Dict[str, str],
      dataset: Dataset,
      num_sgd_steps_per_step: int,
      needs_next_actions: Sequence[str] = (),
      counter: Optional[counting.Counter] = None,
      logger: Optional[loggers.Logger] = None,
      remedy: str = 'lower learning rates',
  ):
    """Initialises the learner.

    Args:
      program: the gradient steps.
      variables: field of the program's state for each variable that actors may
        request.
      dataset: a whole dataset or an iterator of batches.
      num_sgd_steps_per_step: S, gradient steps that each `step` counts.
      needs_next_actions: names of enabled options that need the data's next
        actions as `extras={'next_action': [..., A]}`. If there are any, the
        first batch of an iterator is checked here.
      counter: counts gradient steps as 'learner_steps', and seconds.
      logger: gets the metrics of each learner step.
      remedy: what to change if training diverges, for the error.

    Raises:
      ValueError: if the dataset lacks the next actions that are needed.
    """
    self._program = program
    self._variables = variables
    self._num_sgd_steps_per_step = num_sgd_steps_per_step
    self._needs_next_actions = tuple(needs_next_actions)
    self._counter = counter or counting.Counter(prefix='learner')
    self._logger = logger or loggers.make_default_logger(
        'learner', save_data=False, steps_key='learner_steps')
    self._remedy = remedy
    self._divergence: Optional[divergence.DivergenceError] = None
    self._timestamp: Optional[float] = None
    # Acme's programs serve variables in other threads, but a learner step
    # donates the memory of the old state to the new one.
    self._lock = threading.Lock()
    self._batches, self._resident = None, None
    if is_transition(dataset):
      self._resident = program.put_dataset(self._used_fields(dataset))
    else:
      self._batches = iter(dataset)
      # Not otherwise: a replay buffer has no batch before actors have acted.
      if self._needs_next_actions:
        first = next(self._batches)
        self._used_fields(first)
        self._batches = itertools.chain([first], self._batches)

  def _used_fields(self, transition: types.Transition) -> types.Transition:
    """Checks a transition and drops the fields that no gradient step reads."""
    if not is_transition(transition):
      raise ValueError(
          'The dataset must be one acme.types.Transition or an iterator of '
          f'them, but it contains a {type(transition).__name__}.')
    transition = types.Transition(*transition)
    if not self._needs_next_actions:
      return transition._replace(extras=())
    extras = transition.extras
    if not isinstance(extras, Mapping) or 'next_action' not in extras:
      found = (f'the keys {sorted(extras)}' if isinstance(extras, Mapping)
               else f'a {type(extras).__name__}')
      raise ValueError(
          f'{" and ".join(self._needs_next_actions)} needs the data\'s next '
          "actions as extras['next_action'], but the transitions' extras are "
          f'{found}. Use a dataset that has them, or turn the option off.')
    return transition._replace(
        extras={'next_action': extras['next_action']})

  def step(self):
    """Runs S gradient steps, counts and logs them.

    Raises:
      divergence.DivergenceError: on all hosts, if a metric or the new state is
        not finite (docs/msg.md 3.12). The state is neither saved nor served.
    """
    self._check()
    if self._resident is not None:
      run, data = self._program.run_resident, self._resident
    else:
      run, data = self._program.run_batches, self._used_fields(
          next(self._batches))
    with self._lock:
      averages = run(data)
      if not jax.device_get(averages.is_good):
        self._divergence = self._program.explain(averages, self._remedy)
      self._check()
    metrics = metrics_lib.to_host(averages)
    now = time.time()
    elapsed = 0. if self._timestamp is None else now - self._timestamp
    self._timestamp = now
    counts = self._counter.increment(
        steps=self._num_sgd_steps_per_step, walltime=elapsed)
    self._logger.write({**metrics, **counts})

  def _check(self):
    if self._divergence is not None:
      raise self._divergence

  def get_variables(self, names: Sequence[str]) -> List[Any]:
    """Returns variables by name, as NumPy arrays.

    Raises:
      KeyError: if a variable does not exist; the message lists all variables.
    """
    for name in names:
      if name not in self._variables:
        raise KeyError(f'Unknown variable {name!r}; this learner has '
                       f'{sorted(self._variables)}.')
    with self._lock:
      self._check()
      return [self._program.get(self._variables[name]) for name in names]

  def save(self) -> Any:
    """Returns the training state, as NumPy arrays of global shapes.

    Raises:
      AssertionError: if replicated arrays differ between devices.
    """
    with self._lock:
      self._check()
      self._program.assert_replicated()
      return self._program.state

  def global_state(self) -> Any:
    """Returns the training state, with split arrays left on their devices.

    Arrays that are split over devices are `jax.Array`s over the devices of all
    hosts; the others are NumPy arrays.

    Raises:
      AssertionError: if replicated arrays differ between devices, on all hosts.
    """
    with self._lock:
      self._check()
      self._program.assert_replicated()
      return self._program.global_state

  def restore(self, state: Any):
    """Replaces the training state.

    Args:
      state: from `save`, on any number of devices, or with split arrays like
        those of `global_state`.
    """
    with self._lock:
      self._program.state = state
      self._divergence = None

  @property
  def num_traces(self) -> int:
    """Number of times that gradient steps were traced."""
    return self._program.num_traces
