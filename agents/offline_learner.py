"""An Acme learner around a program of gradient steps."""

import itertools
import threading
import time
from typing import (
    Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union)

import acme
from acme import types
from acme.utils import counting
from acme.utils import loggers

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
  minibatches are drawn from it inside the compiled loop. From an iterator each
  step takes one batch of `S * B` transitions.

  On H hosts, each has a learner of the same program that takes the same steps
  at the same time. Each is given the whole dataset, or an iterator of its own
  `S * B/H` transitions; see `program.Program.run_batches`. What is split over
  hosts must be saved, and asked for as a variable, by all at the same time.
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
  ):
    """Initialises the learner.

    Args:
      program: the gradient steps.
      variables: for each variable that actors may ask for, the field of the
        program's state that holds it.
      dataset: a whole dataset or an iterator of batches.
      num_sgd_steps_per_step: S, what each step counts.
      needs_next_actions: options in force that need the data's next actions,
        as `extras={'next_action': [..., A]}`. If there are any, an iterator's
        first batch is drawn here, to refuse it before any work is spent.
      counter: counts gradient steps as 'learner_steps' and seconds.
      logger: gets the metrics of each step.

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
    self._timestamp = None
    # Programs of Acme serve variables in other threads than the one that
    # learns, but a gradient step gives the old state's memory to the new one.
    self._lock = threading.Lock()
    self._batches, self._resident = None, None
    if is_transition(dataset):
      self._resident = program.put_dataset(self._used_fields(dataset))
    else:
      self._batches = iter(dataset)
      # Only then: what actors fill has no batch before they act.
      if self._needs_next_actions:
        first = next(self._batches)
        self._used_fields(first)
        self._batches = itertools.chain([first], self._batches)

  def _used_fields(self, transition: types.Transition) -> types.Transition:
    """Drops what no gradient step reads, and refuses what lacks something."""
    if not is_transition(transition):
      raise ValueError(
          'The dataset must be one acme.types.Transition or an iterator of '
          f'them, but it gives a {type(transition).__name__}.')
    transition = types.Transition(*transition)
    if not self._needs_next_actions:
      return transition._replace(extras=())
    extras = transition.extras
    if not isinstance(extras, Mapping) or 'next_action' not in extras:
      found = (f'the keys {sorted(extras)}' if isinstance(extras, Mapping)
               else f'a {type(extras).__name__}')
      raise ValueError(
          f'{" and ".join(self._needs_next_actions)} needs the data\'s next '
          "actions as extras['next_action'], but the extras of its transitions "
          f'are {found}. Use a dataset that has them, or turn the option off.')
    return transition._replace(
        extras={'next_action': extras['next_action']})

  def step(self):
    """Runs S gradient steps, counts and logs them."""
    if self._resident is not None:
      run, data = self._program.run_resident, self._resident
    else:
      run, data = self._program.run_batches, self._used_fields(
          next(self._batches))
    with self._lock:
      metrics = run(data)
    metrics = metrics_lib.to_host(metrics)
    now = time.time()
    elapsed = 0. if self._timestamp is None else now - self._timestamp
    self._timestamp = now
    counts = self._counter.increment(
        steps=self._num_sgd_steps_per_step, walltime=elapsed)
    self._logger.write({**metrics, **counts})

  def get_variables(self, names: Sequence[str]) -> List[Any]:
    """Returns variables by name, as NumPy arrays.

    Raises:
      KeyError: if there is no such variable; the message lists those there are.
    """
    for name in names:
      if name not in self._variables:
        raise KeyError(f'There is no variable {name!r}; this learner has '
                       f'{sorted(self._variables)}.')
    with self._lock:
      return [self._program.get(self._variables[name]) for name in names]

  def save(self) -> Any:
    """Returns the training state, as NumPy arrays of global shapes.

    Raises:
      AssertionError: if devices differ in what they should share.
    """
    with self._lock:
      self._program.assert_replicated()
      return self._program.state

  def global_state(self) -> Any:
    """Returns what `save` does, but with parts left on their devices.

    What is split over devices comes as `jax.Array`s over those of all hosts.

    Raises:
      AssertionError: as `save` does, on all hosts.
    """
    with self._lock:
      self._program.assert_replicated()
      return self._program.global_state

  def restore(self, state: Any):
    """Takes up a state from `save`, made on any number of devices.

    Args:
      state: from `save`, or with arrays spread like those of `global_state`.
    """
    with self._lock:
      self._program.state = state

  @property
  def num_traces(self) -> int:
    """How often gradient steps were traced."""
    return self._program.num_traces
