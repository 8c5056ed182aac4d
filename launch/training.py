"""Trains an experiment's learner to an exact step, from its last checkpoint."""

from typing import Any, Callable, Mapping, Optional, Union

from acme import specs
from acme import types
from acme.utils import counting
from acme.utils import loggers
import jax

from . import checkpointing
from . import evaluations
from . import experiment_config
from . import hosts as hosts_lib
from . import packing
from . import progress as progress_lib
from . import run_directory
from . import run_loggers
from . import shutdown
from ..datasets import delivery


def make_queue(
    experiment: experiment_config.ExperimentConfig) -> evaluations.Evaluations:
  """Returns the queue of weights to evaluate."""
  logger_fn = run_loggers.make_logger_fn(experiment.root_dir)
  return evaluations.Evaluations(
      experiment.root_dir, experiment.score_fn, logger_fn('evaluator'))


class Training:
  """The training of one experiment, on one of the learner's hosts.

  All hosts take the same steps and save checkpoints together. Host 0 alone
  logs, publishes weights and waits for their evaluations.

  The run's directory is claimed, and written to, when everything is built and
  the learner has taken a step. A start that fails before leaves nothing.
  """

  def __init__(self,
               experiment: experiment_config.ExperimentConfig,
               source: Any,
               queue: Optional[evaluations.Evaluations],
               progress: progress_lib.Progress,
               hosts: Optional[hosts_lib.Hosts] = None,
               evaluate: Callable[[], None] = lambda: None):
    """Builds the learner and restores the last checkpoint, if there is one.

    Args:
      experiment: what to train.
      source: the data's store, or a client of the node that serves it.
      queue: takes the weights to evaluate; None on all hosts but the first.
      progress: shows what is done.
      hosts: the learner's hosts; by default this one alone.
      evaluate: evaluates what `queue` holds. By default other processes do.

    Raises:
      shutdown.Stopped: if the program ends first.
      ValueError: if the dataset does not fit the environment or is not that of
        the run, or if no checkpoint is intact.
    """
    run_loggers.hide_accelerators()  # Before Reverb has TensorFlow find them.
    self._experiment = experiment
    self._queue = queue
    self._progress = progress
    self._hosts = hosts = hosts or hosts_lib.Hosts()
    self._evaluate = evaluate
    self._stream: Optional[delivery.Stream] = None
    self._counter = counting.Counter()
    self._learner_counter = counting.Counter(
        self._counter, prefix='learner', time_delta=0.)

    self._data: Mapping[str, Any] = {}  # What identifies it, on host 0.
    self._claimed = False

    spec = experiment.environment_spec()
    progress.wait_for('loading data')
    try:
      _check_fit(delivery.example(source), spec)
      if hosts.index == 0:
        self._data = run_directory.identify(
            experiment, source.num_transitions())
        run_directory.check(experiment, self._data)
      dataset = self._get_data(source)
    except shutdown.Stopped:
      pass  # The next line tells the other hosts, and raises it again.
    hosts.check()
    self._checkpoints = checkpointing.CheckpointManager(
        experiment.root_dir, self._find_checkpoint())
    self._restore_position()

    progress.wait_for('building the learner')
    self._loggers = run_loggers.HeldLoggers(
        run_loggers.make_logger_fn(experiment.root_dir) if hosts.index == 0
        else lambda *_, **__: loggers.NoOpLogger())
    self._learner = experiment.builder.make_learner(
        jax.random.PRNGKey(experiment.seed), experiment.network_factory(spec),
        dataset, self._loggers, spec, counter=self._learner_counter)
    restored = self._checkpoints.restore(self._learner, self._counter)
    self._step = restored // experiment.num_sgd_steps_per_step  # Learner steps.
    if restored:
      progress.say(f'Resumed at gradient step {restored:,}.')
    self._restore_evaluations()

  def run(self) -> None:
    """Trains, publishes and saves until all steps are done and evaluated.

    Raises:
      shutdown.Stopped: if the program ends first; the run is saved.
      ValueError: if the learner does not count S gradient steps per step.
    """
    experiment = self._experiment
    try:
      if self._step:
        self._claim()
        self._evaluate()  # What the checkpoint carries.
        self._publish()  # Its own evaluation may be missing.
        self._evaluate()
      if self._step < experiment.num_steps:
        self._progress.wait_for('compiling the first learner step')
      while self._step < experiment.num_steps:
        self._wait_for_data()
        self._train_one_step()
        is_last = self._step == experiment.num_steps
        evaluating = self._step % experiment.eval_every_steps == 0
        saving = self._step % experiment.checkpoint_period == 0 or is_last
        self._claim()
        if evaluating:
          self._publish()
        if saving:
          self._save()
        if evaluating:
          self._evaluate()
      if self._outstanding():
        self._progress.wait_for('finishing the last evaluations')
      self._wait_for_evaluations()
    except shutdown.Stopped:
      if self._step:
        self._save()
        self._progress.say(
            f'Stopped and saved at gradient step {self._gradient_steps:,}.')
      raise
    self._checkpoints.close()
    result = self._queue.last_result() if self._queue else ''
    self._progress.say(f'Finished at gradient step {self._gradient_steps:,}; '
                       f'{result}; see {experiment.root_dir}.')

  @property
  def _gradient_steps(self) -> int:
    return self._experiment.gradient_steps(self._step)

  # Data.

  def _get_data(
      self, source: delivery.Source,
  ) -> Union[types.Transition, delivery.Stream]:
    """Returns the whole dataset, or a stream from its start."""
    experiment, hosts = self._experiment, self._hosts
    share = {'reader': hosts.index, 'num_readers': hosts.count}
    if experiment.stream is None:
      return delivery.make_resident_dataset(
          source, **share, progress=lambda *_: shutdown.check(hosts.stop))
    self._stream = delivery.make_stream(
        source, experiment.transitions_per_step // hosts.count, **share,
        seed=experiment.seed, shuffle_buffer=experiment.stream.shuffle_buffer)
    return self._stream

  def _restore_position(self) -> None:
    """Takes a stream to the position of the last checkpoint."""
    position = self._stream and self._checkpoints.restore_position()
    if position:
      of_hosts: Any = position.get('hosts', ())
      if len(of_hosts) == self._hosts.count:
        epoch, row = of_hosts[self._hosts.index]
        position = {**position, 'epoch': epoch, 'row': row}
      self._stream.restore(position)

  # The run's directory.

  def _claim(self) -> None:
    """Records the run in its directory, once; its logs are written now."""
    if self._claimed:
      return
    self._claimed = True
    if self._hosts.index == 0:
      run_directory.claim(self._experiment, self._data)
    self._loggers.release()

  # One learner step.

  def _wait_for_data(self) -> None:
    """Waits for a stream's next batch, then asks whether a host must stop.

    A host that waited within the learner step could not tell the others, which
    wait in the step, that it is told to stop.
    """
    try:
      while self._stream and not self._stream.wait(timeout=0.5):
        self._progress.waits_for('the next batch from the data node')
        if self._hosts.stop.is_set():
          break
      self._progress.waits_for('')
    except (shutdown.Stopped, OSError):
      # The data node may have been stopped a moment before this one.
      self._hosts.stop.wait(2.)
      self._hosts.check()
      raise
    self._hosts.check()

  def _train_one_step(self) -> None:
    self._learner.step()
    self._step += 1
    self._progress.train(
        self._gradient_steps, self._queue.last_result() if self._queue else '')
    counted = self._learner_counter.get_counts().get('learner_steps')
    if counted != self._gradient_steps:
      raise ValueError(
          f"After {self._step} learner steps the learner's counter "
          f'`learner_steps` is {counted}, but num_sgd_steps_per_step='
          f'{self._experiment.num_sgd_steps_per_step} means '
          f'{self._gradient_steps}. Make them agree.')

  # Evaluations.

  def _publish(self) -> None:
    """Offers the current weights, if they are due to be evaluated."""
    if self._step % self._experiment.eval_every_steps:
      return
    # Keeps few weights in memory if evaluation is slower than training.
    self._wait_for_evaluations(
        at_most=max(1, self._experiment.num_evaluators - 1))
    # On all hosts, because each may hold a part of the variables.
    names = list(self._experiment.variables)
    variables = self._learner.get_variables(names)
    if self._queue:
      self._queue.publish(
          self._gradient_steps,
          packing.pack(dict(zip(names, variables)), 'variables'))

  def _outstanding(self) -> int:
    return self._queue.outstanding() if self._queue else 0

  def _wait_for_evaluations(self, at_most: int = 0) -> None:
    """Waits until at most `at_most` steps are outstanding."""
    def is_done():
      done = self._outstanding() <= at_most
      if self._queue:
        self._progress.waits_for('' if done else self._queue.awaited())
      return done

    self._hosts.wait(is_done)

  def _restore_evaluations(self) -> None:
    """Offers the weights that the checkpoint carries."""
    pending = self._checkpoints.restore_pending()
    if self._queue:
      if not self._step:
        self._check_for_lost_checkpoints()
      lost = self._queue.resume(
          self._gradient_steps, pending, self._experiment.evaluated_steps())
      if lost:
        self._progress.say(
            'warning: evaluations.npz lacks the evaluations of the gradient '
            f'steps {", ".join(map(str, lost))}, and their weights are not '
            'kept. If you have a copy of the file, stop this run and put it '
            'back; otherwise they remain missing.')

  # Checkpoints.

  def _find_checkpoint(self) -> int:
    """Returns the last intact checkpoint's step, or 0, as host 0 sees it."""
    step = None
    if self._hosts.index == 0:
      step = checkpointing.find_intact(
          self._experiment.root_dir, self._progress.say)
    return int(self._hosts.all_of([step or 0]).max())

  def _check_for_lost_checkpoints(self) -> None:
    """Refuses to train again from the start what was saved before."""
    root_dir = self._experiment.root_dir
    last = max(evaluations.load(root_dir), default=0)
    # A later step is evaluated after the first checkpoint only.
    first = self._experiment.gradient_steps(self._experiment.checkpoint_period)
    if last > first:
      raise ValueError(
          f'{root_dir} holds the evaluation of gradient step {last:,}, but no '
          'checkpoint. Put the checkpoints back, or choose another root_dir.')

  def _save(self) -> None:
    position = None
    if self._stream:
      position = self._stream.save()
      if self._hosts.count > 1:
        position['hosts'] = self._hosts.all_of(
            [position['epoch'], position['row']]).tolist()
    # The weights of this step are in the checkpoint itself.
    pending = (self._queue.pending(before=self._gradient_steps)
               if self._queue else None)
    self._checkpoints.save(
        self._gradient_steps, self._learner, self._learner_counter, position,
        pending)


def _check_fit(example: types.Transition, spec: specs.EnvironmentSpec) -> None:
  for name, found, wanted in (
      ('observation', example.observation, spec.observations),
      ('action', example.action, spec.actions)):
    if found.shape[1:] != wanted.shape:
      raise ValueError(
          f'The dataset holds {name}s of shape {found.shape[1:]}, but those '
          f'of the environment have shape {wanted.shape}. Do dataset and '
          'environment belong to the same task?')
