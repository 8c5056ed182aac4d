"""The learner node: trains, publishes weights, collects evaluations, saves."""

import pickle
import threading
from typing import Any, Optional, Sequence, Tuple

from acme import specs
from acme import types
from acme.utils import counting
import jax
import launchpad as lp

from ..datasets import serving
from . import checkpointing
from . import evaluations
from . import experiment as experiment_lib
from . import lifetime
from . import loggers
from . import progress
from . import run_directory

# The learner's name as a reader of the data node's dataset.
READER = 'learner'


class LearnerNode:
  """Trains to an exact step, with every due evaluation made before it ends.

  Also owns what other programs give to nodes of their own: the master counter
  (saved in the learner's checkpoints, which it must agree with), the queue of
  weights to evaluate, and the results. A program of few processes starts
  faster, and nothing needs to poll a counter to find out that it is over.

  `run` is the node's life in a program. In one process, call `start` with the
  dataset, then `advance` until it returns False, and between these calls
  `claim` and `report` for all that is published.

  Attributes:
    progress: shows lines while it is entered.
  """

  def __init__(self, experiment: experiment_lib.ExperimentConfig,
               data: Any = None):
    """Initializes the node; all work is left to `run` or `start`.

    Args:
      experiment: what to train.
      data: client of the data node, only needed by `run`.
    """
    lifetime.quiet()  # Before Courier logs each method of this class.
    self._experiment = experiment
    self._data = data
    self._stop = threading.Event()  # Never set outside of a program.
    self.progress = progress.Progress(
        experiment.gradient_steps(experiment.num_steps))
    self._evaluations: Optional[evaluations.Evaluations] = None
    self._ready = threading.Event()  # Set once there are evaluations.
    self._step = 0  # Learner steps done.

  # What evaluators call.

  def claim(self, evaluator: str,
            timeout: float = 0.) -> Optional[Tuple[int, bytes]]:
    """Returns a gradient step and its pickled variables, or None; see there."""
    if not self._ready.wait(timeout):
      return None
    return self._evaluations.claim(evaluator, timeout)

  def report(self, evaluator: str, returns: Sequence[float],
             lengths: Sequence[int]) -> None:
    """Keeps the result of what the evaluator has claimed."""
    self._evaluations.report(evaluator, returns, lengths)

  # What the learner does.

  def run(self) -> None:
    """Trains, then ends the program."""
    self._stop = lifetime.begin()
    with self.progress:
      try:
        run_directory.claim(self._experiment)
        if run_directory.is_finished(self._experiment):
          self.progress.say('This run is finished already; nothing to do.')
        else:
          self.start(self._drain())
          while self.advance():
            pass
          self.finish()
      except lifetime.Stopped:
        self._save_early()
        return
    lp.stop()
    # The evaluators' calls are answered until they are told to stop, too.
    lp.wait_for_stop()

  def start(self, dataset: types.Transition) -> None:
    """Builds the learner and takes it to the last checkpoint, if there is one.

    Args:
      dataset: the whole dataset, T transitions.

    Raises:
      ValueError: if the dataset does not fit the environment.
    """
    experiment = self._experiment
    spec = experiment.environment_spec()
    _check_fit(dataset, spec)
    self.progress.wait_for('building the learner')
    logger_fn = loggers.make_logger_fn(experiment.root_dir)
    self._counter = counting.Counter()
    self._learner_counter = counting.Counter(
        self._counter, prefix='learner', time_delta=0.)
    self._learner = experiment.builder.make_learner(
        jax.random.PRNGKey(experiment.seed), experiment.network_factory(spec),
        dataset, logger_fn, spec, counter=self._learner_counter)
    self._checkpoints = checkpointing.CheckpointManager(experiment.root_dir)
    # 1. The last checkpoint, 2. the evaluations up to it, 3. its own
    # evaluation, in case that was cut off, 4. the start from scratch.
    restored = self._checkpoints.restore(self._learner, self._counter)
    self._step = restored // experiment.num_sgd_steps_per_step
    self._evaluations = evaluations.Evaluations(
        experiment.root_dir, restored, experiment.score_fn,
        logger_fn('evaluator'))
    self._ready.set()
    if restored:
      self.progress.say(f'Resumed at gradient step {restored:,}.')
      self._publish()
    if self._step < experiment.num_steps:
      self.progress.wait_for('compiling the first learner step')

  def advance(self) -> bool:
    """Trains to the next evaluation or checkpoint, and makes them.

    Returns:
      False once there is nothing left to do.

    Raises:
      lifetime.Stopped: if the program is ending.
      ValueError: if the learner does not count S gradient steps per step.
    """
    experiment = self._experiment
    if self._step == experiment.num_steps:
      if self._evaluations.outstanding():
        self.progress.wait_for('waiting for the last evaluations')
        self._evaluations.wait(self._stop)
      return False
    until = min(
        _next_multiple(self._step, experiment.eval_every_steps),
        _next_multiple(self._step, experiment.checkpoint_every_steps),
        experiment.num_steps)
    while self._step < until:
      lifetime.check(self._stop)
      self._learner.step()
      self._step += 1
      self.progress.train(
          self._gradient_steps(), self._evaluations.last_result())
    self._check_count()
    self._publish()
    if (self._step % experiment.checkpoint_every_steps == 0
        or self._step == experiment.num_steps):
      # What is resumed here must not lack an evaluation from before. The one
      # from here needs no waiting: these weights are in the checkpoint.
      self._evaluations.wait(self._stop, before=self._gradient_steps())
      self._save()
    return True

  def finish(self) -> None:
    """Says how the run ended and closes its checkpoints."""
    self._checkpoints.close()
    self.progress.say(
        f'Finished at gradient step {self._gradient_steps():,}; '
        f'{self._evaluations.last_result()}; see {self._experiment.root_dir}.')

  def _drain(self) -> types.Transition:
    self.progress.wait_for('loading data')
    address = lifetime.result(self._data.futures.open(READER), self._stop)
    return serving.drain(
        address, READER, progress=lambda *_: lifetime.check(self._stop))

  def _gradient_steps(self) -> int:
    return self._experiment.gradient_steps(self._step)

  def _check_count(self) -> None:
    counts = self._learner_counter.get_counts()
    if counts.get('learner_steps') != self._gradient_steps():
      raise ValueError(
          f'After {self._step} learner steps the learner counts '
          f'{counts.get("learner_steps")} learner_steps, but '
          f'num_sgd_steps_per_step={self._experiment.num_sgd_steps_per_step} '
          f'means {self._gradient_steps()}. Make them agree.')

  def _publish(self) -> None:
    """Offers the current weights, if they are due to be evaluated."""
    if self._step % self._experiment.eval_every_steps:
      return
    # Keeps few weights in memory where evaluation is slower than training.
    self._evaluations.wait(
        self._stop, at_most=max(1, self._experiment.num_evaluators - 1))
    variables = self._learner.get_variables(list(self._experiment.variables))
    # Pickled here, for Courier would turn named tuples into plain ones.
    self._evaluations.publish(self._gradient_steps(), pickle.dumps(variables))

  def _save(self) -> None:
    self._checkpoints.save(
        self._gradient_steps(), self._learner, self._learner_counter)

  def _save_early(self) -> None:
    """Saves a learner that is stopped between two checkpoints."""
    if not self._ready.is_set():
      return
    done = self._gradient_steps()
    if self._evaluations.outstanding(before=done):
      self.progress.say(
          f'Stopped at gradient step {done:,} with evaluations outstanding; '
          'a resume continues from the checkpoint before them.')
    else:
      self._save()
      self.progress.say(f'Stopped and saved at gradient step {done:,}.')


def _next_multiple(step: int, of: int) -> int:
  return (step // of + 1) * of


def _check_fit(dataset: types.Transition,
               spec: specs.EnvironmentSpec) -> None:
  for name, found, wanted in (
      ('observation', dataset.observation, spec.observations),
      ('action', dataset.action, spec.actions)):
    if found.shape[1:] != wanted.shape:
      raise ValueError(
          f'The dataset holds {name}s of shape {found.shape[1:]}, but those '
          f'of the environment have shape {wanted.shape}. Do dataset and '
          'environment belong to the same task?')
