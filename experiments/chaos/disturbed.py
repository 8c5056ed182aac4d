"""Runs the reference experiment, undisturbed or with faults."""

import dataclasses
import os
import sys
import time
from typing import List, Mapping, Optional, Tuple

from . import faults
from . import program as program_lib
from . import reference
from . import results

# Arguments of each mode. All hosts are processes of this machine.
MODES = {
    'resident': (),
    'stream': ('--run_streamed',),
    'two_hosts': ('--num_learner_hosts=2',),
}


@dataclasses.dataclass
class Event:
  """A fault and what it did.

  Attributes:
    fault: the fault.
    mode: the run's mode.
    phase: the agent's phase.
    code: the program's exit code, if it ended.
    seconds_to_end: from the fault until no process was left, if it ended.
    seconds_to_resume: from the fault until there was a new learner step or
      evaluation, or until the run's end; for an evaluator's fault, until the
      next evaluation.
    flipped: the file in which a bit was flipped.
    unclear: the last line, where it should have been an error message.
  """
  fault: faults.Fault
  mode: str
  phase: str
  code: Optional[int] = None
  seconds_to_end: Optional[float] = None
  seconds_to_resume: Optional[float] = None
  flipped: Optional[str] = None
  unclear: Optional[str] = None


class Run:
  """One run of the reference experiment, in as many starts as it takes.

  Attributes:
    root_dir: its directory.
    seconds: from the first start to the end.
    events: the faults so far.
  """

  def __init__(self, root_dir: str, mode: str, num_steps: int, output: str,
               env: Mapping[str, str] = {}):
    """Initializes the run; nothing is started.

    Args:
      root_dir: its directory.
      mode: one of `MODES`.
      num_steps: learner steps.
      output: a file for what its programs print.
      env: environment variables of its programs.
    """
    self.root_dir = root_dir
    self.seconds = 0.
    self.events: List[Event] = []
    self._mode, self._num_steps = mode, num_steps
    self._output, self._env = output, env
    self._command = [
        sys.executable, '-m', 'acme_msg.launch.local',
        f'--experiment={reference.__name__}:make_experiment',
        f'--run_dir={root_dir}', f'--run_steps={num_steps}', *MODES[mode]]
    # The last event until the run has resumed: when it was, and what the run
    # had done.
    self._open: Optional[Tuple[Event, float, Tuple[int, int]]] = None

  def finish(self, disturber: Optional[faults.Disturber] = None,
             max_faults: int = 0) -> None:
    """Brings the run to its end.

    Args:
      disturber: makes the faults; None for none.
      max_faults: the most faults.

    Raises:
      RuntimeError: if the program fails without a fault.
      program.Hanging: if it does not go on, or does not end.
    """
    began = time.time()
    while not self._start(disturber, max_faults):
      pass
    self.seconds = time.time() - began

  def _start(self, disturber: Optional[faults.Disturber],
             max_faults: int) -> bool:
    """Starts the program once; returns whether the run is finished."""
    with program_lib.Program(
        self._command, self._output, self._env) as program:
      self._await_resume(program)
      while (disturber and len(self.events) < max_faults
             and self._open is None and self._disturb(program, disturber)):
        pass
      code, said = program.wait(), program.output()
    if code and self._open is None:
      raise RuntimeError(f'The run ended with code {code} by itself:\n{said}')
    if self._open:
      event, struck, _ = self._open
      event.code, event.seconds_to_end = code, time.time() - struck
      if event.fault.what == 'full disk':
        disturber.repair()
        last = said.strip().splitlines()[-1]
        event.unclear = None if last.startswith('error: ') else last
      if code and event.fault.flip:
        event.flipped = disturber.flip_bit(self.root_dir)
      if code == 0:
        self._close()
    return code == 0

  def _disturb(self, program: program_lib.Program,
               disturber: faults.Disturber) -> bool:
    """Waits for a fault's moment; returns False if the program ends before."""
    fault = disturber.draw()
    if not disturber.await_moment(
        program, fault, self.root_dir, self._num_steps):
      return False
    event = Event(fault, self._mode, self._phase())
    done, now = self._done(), time.time()
    if disturber.apply(program, fault):
      print(f'{event.phase}: {fault}', flush=True)
      self.events.append(event)
      self._open = event, now, done
      if not fault.ends_program:
        self._await_resume(program)
    return True

  def _phase(self) -> str:
    part = 4 * results.last_step(self.root_dir) // (
        self._num_steps * reference.SGD_STEPS)
    return ('SASS', 'cloning', 'MSG', 'MSG', 'MSG')[part]

  def _done(self) -> Tuple[int, int]:
    """Returns the sizes of the logs of learner steps and of evaluations."""
    paths = (reference.every_step_path(self.root_dir),
             os.path.join(self.root_dir, 'logs', 'evaluator.csv'))
    size = lambda path: os.path.getsize(path) if os.path.exists(path) else 0
    return size(paths[0]), size(paths[1])

  def _await_resume(self, program: program_lib.Program) -> None:
    """Waits until the run goes on after the last fault, if there was one."""
    if self._open:
      event, _, before = self._open
      if event.fault.group == 'evaluator':
        gone_on = lambda: self._done()[1] > before[1]
      else:
        gone_on = lambda: self._done() > before
      if program.wait_until(gone_on):
        self._close()

  def _close(self) -> None:
    event, struck, _ = self._open
    event.seconds_to_resume = time.time() - struck
    self._open = None
