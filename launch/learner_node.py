"""The learner node: trains, publishes weights, collects evaluations, saves."""

import pickle
import threading
from typing import Any, Callable, Optional, Sequence, Tuple, Union

from acme import specs
from acme import types
from acme.utils import counting
from acme.utils import loggers as acme_loggers
import jax
import launchpad as lp

from ..datasets.delivery import make
from ..datasets.delivery import store
from ..datasets.delivery import streaming
from . import checkpointing
from . import data_node
from . import evaluations
from . import experiment_config
from . import hosts as hosts_lib
from . import shutdown
from . import run_loggers
from . import progress
from . import run_directory


def readers(num_hosts: int) -> Sequence[str]:
  """Returns each learner host's name as a reader of the data node."""
  return [f'learner_{index}' for index in range(num_hosts)]


class LearnerNode:
  """Trains to an exact step, with every due evaluation made before it ends.

  Also owns what other programs give to nodes of their own: the master counter
  (saved in the learner's checkpoints, which it must agree with), the queue of
  weights to evaluate, and the results. A program of few processes starts
  faster, and nothing needs to poll a counter to find out that it is over.

  A learner may be spread over several hosts, with a node on each. All take the
  same steps, and save the checkpoints together; host 0 alone has evaluators,
  logs, and ends the program.

  `run` is the node's life in a program. In one process, call `start` with the
  data, then `advance` until it returns False, and between these calls
  `claim` and `report` for all that is published.

  Attributes:
    progress: shows lines while it is entered.
  """

  def __init__(self, experiment: experiment_config.ExperimentConfig,
               data: Any = None,
               join: Callable[[], hosts_lib.Hosts] = hosts_lib.alone):
    """Initializes the node; all work is left to `run` or `start`.

    Args:
      experiment: what to train.
      data: client of the data node, only needed by `run`.
      join: joins the learner's hosts, when `run` begins.
    """
    shutdown.quiet()  # Before Courier logs each method of this class.
    self._experiment = experiment
    self._data = data
    self._join, self._hosts = join, hosts_lib.alone()
    self._stop = threading.Event()  # Never set outside of a program.
    self.progress = progress.Progress(
        experiment.gradient_steps(experiment.num_steps))
    self._evaluations: Optional[evaluations.Evaluations] = None
    self._stream: Optional[streaming.Stream] = None
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
    self._stop = shutdown.begin()
    self._hosts = self._join()
    self._hosts.stop = self._stop
    with self._hosts:
      self.progress.quiet = not self._is_first
      with self.progress:
        try:
          self._claim_directory()
          if run_directory.is_finished(self._experiment):
            self.progress.say('This run is finished already; nothing to do.')
          else:
            self.start(data_node.DataClient(self._data, self._stop))
            while self.advance():
              pass
            self.finish()
        except shutdown.Stopped:
          self._save_early()
    # Also where another host, of a program of its own, was told to stop.
    if self._is_first and not self._stop.is_set():
      lp.stop()
      # The evaluators' calls are answered until they are told to stop, too.
      lp.wait_for_stop()

  def start(self, source: Union[store.Store, make.Node]) -> None:
    """Builds the learner and takes it to the last checkpoint, if there is one.

    Args:
      source: the data, or the node that serves it.

    Raises:
      ValueError: if the dataset does not fit the environment.
    """
    experiment = self._experiment
    spec = experiment.environment_spec()
    self.progress.wait_for('loading data')
    self._checkpoints = checkpointing.CheckpointManager(experiment.root_dir)
    try:
      _check_fit(make.example(source), spec)
      dataset = self._get_data(source)
    except shutdown.Stopped:
      pass  # The other hosts must hear of it, too.
    self._hosts.check()
    self._seek()
    self.progress.wait_for('building the learner')
    logger_fn = (run_loggers.make_logger_fn(experiment.root_dir) if self._is_first
                 else lambda *_, **__: acme_loggers.NoOpLogger())
    self._counter = counting.Counter()
    self._learner_counter = counting.Counter(
        self._counter, prefix='learner', time_delta=0.)
    self._learner = experiment.builder.make_learner(
        jax.random.PRNGKey(experiment.seed), experiment.network_factory(spec),
        dataset, logger_fn, spec, counter=self._learner_counter)
    # 1. The last checkpoint (where streamed data is already), 2. the
    # evaluations up to it, 3. its own evaluation, in case that was cut off,
    # 4. the start from scratch.
    restored = self._checkpoints.restore(self._learner, self._counter)
    self._step = restored // experiment.num_sgd_steps_per_step
    if self._is_first:
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
      shutdown.Stopped: if the program is ending.
      ValueError: if the learner does not count S gradient steps per step.
    """
    experiment = self._experiment
    if self._step == experiment.num_steps:
      if self._outstanding():
        self.progress.wait_for('waiting for the last evaluations')
      self._wait_for_evaluations()
      return False
    until = min(
        _next_multiple(self._step, experiment.eval_every_steps),
        _next_multiple(self._step, experiment.checkpoint_every_steps),
        experiment.num_steps)
    while self._step < until:
      self._hosts.check()
      self._train_one_step()
      self.progress.train(self._gradient_steps(), self._last_result())
    self._check_count()
    self._publish()
    if (self._step % experiment.checkpoint_every_steps == 0
        or self._step == experiment.num_steps):
      # What is resumed here must not lack an evaluation from before. The one
      # from here needs no waiting: these weights are in the checkpoint.
      self._wait_for_evaluations(before=self._gradient_steps())
      self._save()
    return True

  def _train_one_step(self) -> None:
    try:
      self._learner.step()
    except shutdown.Stopped as e:
      if self._hosts.count == 1:
        raise
      # The others are in this step and cannot be told.
      raise RuntimeError('Stopped while a learner step waited for data.') from e
    self._step += 1

  def finish(self) -> None:
    """Says how the run ended and closes its checkpoints."""
    self._checkpoints.close()
    self.progress.say(
        f'Finished at gradient step {self._gradient_steps():,}; '
        f'{self._last_result()}; see {self._experiment.root_dir}.')

  @property
  def _is_first(self) -> bool:
    return self._hosts.index == 0

  def _claim_directory(self) -> None:
    """Claims the run's directory, once for all hosts."""
    if self._is_first:
      run_directory.claim(self._experiment)
    self._hosts.check()  # That is, after host 0.
    if not self._is_first:
      run_directory.confirm(self._experiment)

  def _get_data(
      self, source: Union[store.Store, make.Node],
  ) -> Union[types.Transition, streaming.Stream]:
    """Returns the whole dataset, or batches from their start."""
    experiment = self._experiment
    num_hosts = self._hosts.count
    if experiment.data_mode == 'resident':
      return make.make_dataset(
          source, shard_index=self._hosts.index, num_shards=num_hosts,
          on_device=False, progress=lambda *_: shutdown.check(self._stop))
    self._stream = make.make_dataset(
        source, batch_size=experiment.transitions_per_step // num_hosts,
        shard_index=self._hosts.index, num_shards=num_hosts,
        seed=experiment.seed, shuffle_buffer=experiment.shuffle_buffer)
    return self._stream

  def _seek(self) -> None:
    """Takes streamed data to where it was left."""
    if self._stream is None:
      return
    position = self._checkpoints.restore_position()
    if position is None:
      return
    of_hosts = position.get('hosts', ())
    if len(of_hosts) == self._hosts.count:
      epoch, row = of_hosts[self._hosts.index]
      position = {**position, 'epoch': epoch, 'row': row}
    self._stream.restore(position)

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
    self._wait_for_evaluations(
        at_most=max(1, self._experiment.num_evaluators - 1))
    # By all hosts, which may each hold a part of them.
    variables = self._learner.get_variables(list(self._experiment.variables))
    if self._is_first:
      # Pickled here, for Courier would turn named tuples into plain ones.
      self._evaluations.publish(
          self._gradient_steps(), pickle.dumps(variables))

  def _outstanding(self, before: Optional[int] = None) -> int:
    return self._evaluations.outstanding(before) if self._is_first else 0

  def _last_result(self) -> str:
    return self._evaluations.last_result() if self._is_first else ''

  def _wait_for_evaluations(
      self, before: Optional[int] = None, at_most: int = 0) -> None:
    """Waits until at most so many steps (below `before`) are outstanding."""
    self._hosts.wait(lambda: self._outstanding(before) <= at_most)

  def _save(self) -> None:
    position = None
    if self._stream:
      position = self._stream.save()
      if self._hosts.count > 1:
        position['hosts'] = self._hosts.all_of(
            [position['epoch'], position['row']]).tolist()
    self._checkpoints.save(
        self._gradient_steps(), self._learner, self._learner_counter, position)

  def _save_early(self) -> None:
    """Saves a learner that is stopped between two checkpoints."""
    if not self._ready.is_set():
      return
    done = self._gradient_steps()
    if self._hosts.any(self._outstanding(before=done) > 0):
      self.progress.say(
          f'Stopped at gradient step {done:,} with evaluations outstanding; '
          'a resume continues from the checkpoint before them.')
    else:
      self._save()
      self.progress.say(f'Stopped and saved at gradient step {done:,}.')


def _next_multiple(step: int, of: int) -> int:
  return (step // of + 1) * of


def _check_fit(example: types.Transition,
               spec: specs.EnvironmentSpec) -> None:
  for name, found, wanted in (
      ('observation', example.observation, spec.observations),
      ('action', example.action, spec.actions)):
    if found.shape[1:] != wanted.shape:
      raise ValueError(
          f'The dataset holds {name}s of shape {found.shape[1:]}, but those '
          f'of the environment have shape {wanted.shape}. Do dataset and '
          'environment belong to the same task?')
