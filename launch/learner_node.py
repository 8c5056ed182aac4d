"""The learner node: runs the training in a program, and serves evaluators."""

import contextlib
import threading
from typing import Any, Callable, Iterator, Optional, Sequence, Tuple

import launchpad as lp

from . import evaluations
from . import experiment_config
from . import hosts as hosts_lib
from . import progress
from . import run_directory
from . import run_lock
from . import shutdown
from . import training


class LearnerNode:
  """Trains, serves weights to the evaluators, and ends the program.

  The counter, the checkpoints, the queue of weights and the results live in
  this node too: a program of few processes starts faster, and the counter is
  saved with the learner that it must agree with.

  A learner over several hosts has a node on each. Host 0 alone owns the run's
  directory, has evaluators and ends the program.
  """

  def __init__(self, experiment: experiment_config.ExperimentConfig,
               data: Any,
               join: Callable[[], hosts_lib.Hosts] = hosts_lib.Hosts):
    """Initializes the node; `run` does the work.

    Args:
      experiment: what to train.
      data: client of the data node.
      join: joins the learner's hosts, when `run` begins.
    """
    self._experiment = experiment
    self._data = data
    self._join = join
    self._evaluations: Optional[evaluations.Evaluations] = None
    self._ready = threading.Event()  # Set once there are evaluations.

  # Called by the evaluators; see `evaluations.Evaluations`.

  def claim(self, evaluator: str,
            timeout: float = 0.) -> Optional[Tuple[int, bytes]]:
    """Returns a gradient step and its packed variables, or None."""
    if not self._ready.wait(timeout):
      return None
    return self._evaluations.claim(evaluator, timeout)

  def report(self, evaluator: str, returns: Sequence[float],
             lengths: Sequence[int]) -> None:
    """Keeps the result of what the evaluator has claimed."""
    self._evaluations.report(evaluator, returns, lengths)

  # Called by the program.

  def run(self) -> None:
    """Trains, then ends the program."""
    from . import data_node  # Here: the launcher does not need it.
    experiment = self._experiment
    stop = shutdown.begin()
    hosts = self._join()
    hosts.stop = stop
    shown = progress.Progress(
        experiment.gradient_steps(experiment.num_steps), quiet=hosts.index > 0)
    with hosts, shown:
      try:
        # Host 0 decides, since it alone must see the directory.
        if hosts.all_of([run_directory.is_finished(experiment)])[0, 0]:
          shown.say('This run is finished already; nothing to do.')
        else:
          with self._own_directory(hosts):
            if hosts.index == 0:
              self._evaluations = training.make_queue(experiment)
              self._ready.set()
            training.Training(
                experiment, data_node.DataClient(self._data, stop),
                self._evaluations, shown, hosts).run()
      except shutdown.Stopped:
        pass
    # `stop` is also unset if a host of another program was told to stop.
    if hosts.index == 0 and not stop.is_set():
      lp.stop()
      # The evaluators' calls are answered until they are told to stop, too.
      shutdown.wait(stop)

  @contextlib.contextmanager
  def _own_directory(self, hosts: hosts_lib.Hosts) -> Iterator[None]:
    """Locks the run's directory, once for all hosts, and checks it."""
    experiment = self._experiment
    with (run_lock.hold(experiment.root_dir) if hosts.index == 0
          else contextlib.nullcontext()):
      if hosts.index == 0:
        run_directory.check(experiment)
      hosts.check()  # The other hosts continue after host 0.
      if hosts.index > 0:
        run_directory.confirm(experiment)
      yield
