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
    # Events from which the run has not resumed: when they were, and what the
    # run had done.
    self._open: List[Tuple[Event, float, Tuple[int, int]]] = []

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
      has_begun = must_end = False
      while disturber and len(self.events) < max_faults and not must_end:
        fault = disturber.draw(has_begun)
        if fault.moment != 'start':
          self._await_resume(program)
          has_begun = True
        if not disturber.await_moment(
            program, fault, self.root_dir, self._num_steps):
          break
        must_end = self._apply(program, fault, disturber)
      if not must_end:
        self._await_resume(program)
      code, said = program.wait(), program.output()
    if code and not self._open:
      raise RuntimeError(f'The run ended with code {code} by itself:\n{said}')
    if code:
      event, struck, _ = self._open[-1]
      event.code, event.seconds_to_end = code, time.time() - struck
      if event.fault.what == 'full disk':
        last = said.strip().splitlines()[-1]
        event.unclear = None if last.startswith('error: ') else last
      if event.fault.flip:
        event.flipped = disturber.flip_bit(self.root_dir)
      # What was done before the end is no resume.
      self._open = [(*opened[:2], self._done()) for opened in self._open]
    else:
      self._close()
    if disturber:
      disturber.repair()
    return code == 0

  def _apply(self, program: program_lib.Program, fault: faults.Fault,
             disturber: faults.Disturber) -> bool:
    """Applies a fault; returns whether the program must end of it."""
    event = Event(fault, self._mode, self._phase())
    done, now = self._done(), time.time()
    if not disturber.apply(program, fault):
      return False
    print(f'{event.phase}: {fault}', flush=True)
    self.events.append(event)
    self._open.append((event, now, done))
    return fault.ends_program

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
    """Waits until the run goes on after the faults, if there were any."""
    def has_gone_on() -> bool:
      # An evaluator's fault does not keep the learner from going on.
      return all(
          self._done()[1] > done[1] if event.fault.group == 'evaluator'
          else self._done() > done for event, _, done in self._open)
    if program.wait_until(has_gone_on):
      self._close()

  def _close(self) -> None:
    for event, struck, _ in self._open:
      event.seconds_to_resume = time.time() - struck
    self._open = []
