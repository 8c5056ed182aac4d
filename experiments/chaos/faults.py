"""What is done to a run, to which of its processes, and at which moment."""

import errno
import glob
import os
import random
import signal
import time
from typing import NamedTuple, Optional

from . import program as program_lib
from . import reference
from . import results

# Relative frequencies.
_SIGNALS = {'SIGKILL': 6, 'SIGTERM': 2, 'SIGINT': 1, 'SIGSTOP': 2}
_GROUPS = {'learner': 4, 'evaluator': 3, 'launcher': 2, 'data': 2}
_MOMENTS = {'step': 6, 'save': 4, 'start': 2, 'drain': 1}
# Probabilities.
_FULL_DISK = 0.08
_FLIP = 0.15
# Lines that a program prints before its first learner step, at least.
_STARTING_LINES = 6


class Fault(NamedTuple):
  """One disturbance.

  Attributes:
    what: a signal's name, or 'full disk'.
    group: whose process gets the signal; see `program.Program.group`.
    moment: 'start', before the first learner step; 'step', after a random
      number of them; 'save', while a checkpoint is written; or 'drain', while
      the last evaluations are awaited.
    flip: whether a bit of the newest checkpoint is flipped before the resume,
      if there is an older one.
  """
  what: str
  group: str
  moment: str
  flip: bool

  def __str__(self) -> str:
    what = (self.what if self.what == 'full disk' else
            f'{self.what} to {self.group}')
    return f'{what} ({self.moment}{", flipped bit" if self.flip else ""})'

  @property
  def ends_program(self) -> bool:
    """Whether the program should end. Evaluators are started again."""
    return self.what != 'SIGSTOP' and self.group != 'evaluator'


class Disturber:
  """Draws and applies faults."""

  def __init__(self, seed: int, disk: Optional[str] = None):
    """Initializes it.

    Args:
      seed: of all that is random.
      disk: a small file system with the runs, to be filled; None leaves 'full
        disk' out.
    """
    self._random = random.Random(seed)
    self._disk = disk

  def draw(self, has_begun: bool) -> Fault:
    """Draws a fault, for a program that has taken a learner step or has not."""
    def choose(weights):
      return self._random.choices([*weights], [*weights.values()])[0]
    moments = dict(_MOMENTS)
    if has_begun:
      del moments['start']
    flip = self._random.random() < _FLIP
    if self._random.random() < _FULL_DISK and self._disk:
      return Fault('full disk', 'learner', 'step', flip)
    return Fault(choose(_SIGNALS), choose(_GROUPS), choose(moments), flip)

  def await_moment(self, program: program_lib.Program, fault: Fault,
                   root_dir: str, num_steps: int) -> bool:
    """Waits for a fault's moment; returns False if the program ends before.

    Args:
      program: the run.
      fault: the fault.
      root_dir: the run's directory.
      num_steps: its learner steps; up to a fifth of them are awaited.
    """
    checkpoints = os.path.join(root_dir, 'checkpoints')
    if fault.moment == 'start':
      lines = self._random.randint(1, _STARTING_LINES)
      return program.wait_until(
          lambda: program.output().count('\n') >= lines)
    if fault.moment == 'drain':
      last = os.path.join(checkpoints, str(num_steps * reference.SGD_STEPS))
      return program.wait_until(lambda: os.path.isdir(last))
    rows = results.num_rows(root_dir) + self._random.randrange(num_steps // 5)
    if not program.wait_until(lambda: results.num_rows(root_dir) > rows):
      return False
    unfinished = os.path.join(checkpoints, '*tmp*')
    return fault.moment == 'step' or program.wait_until(
        lambda: bool(glob.glob(unfinished)))

  def apply(self, program: program_lib.Program, fault: Fault) -> bool:
    """Applies a fault; returns False if there is no such process."""
    if fault.what == 'full disk':
      self._fill_disk()
      return True
    processes = program.processes(fault.group)
    if not processes:
      return False
    process = self._random.choice(processes)
    sent = program_lib.send(process, getattr(signal, fault.what))
    if sent and fault.what == 'SIGSTOP':
      time.sleep(self._random.uniform(0.1, 3.))
      program_lib.send(process, signal.SIGCONT)
    return sent

  def repair(self) -> None:
    """Makes room on the disk again."""
    if self._disk and os.path.exists(self._ballast):
      os.remove(self._ballast)

  @property
  def _ballast(self) -> str:
    return os.path.join(self._disk or '', 'ballast')

  def _fill_disk(self) -> None:
    with open(self._ballast, 'wb', buffering=0) as file:
      try:
        while True:
          file.write(bytes(4096))
      except OSError as e:
        if e.errno != errno.ENOSPC:
          raise

  def flip_bit(self, root_dir: str) -> Optional[str]:
    """Flips a bit of the newest checkpoint, unless there is no other one.

    Returns:
      The damaged file, relative to `root_dir`.
    """
    folder = os.path.join(root_dir, 'checkpoints')
    steps = sorted(int(name) for name in os.listdir(folder) if name.isdigit()
                   ) if os.path.isdir(folder) else []
    if len(steps) < 2:
      return None
    files = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(os.path.join(folder, str(steps[-1])))
        for name in names)
    # Larger files lose more bits, as on a disk.
    [path] = self._random.choices(files, [os.path.getsize(f) for f in files])
    with open(path, 'rb+') as file:
      at = self._random.randrange(os.path.getsize(path))
      file.seek(at)
      byte = file.read(1)[0] ^ (1 << self._random.randrange(8))
      file.seek(at)
      file.write(bytes([byte]))
    return os.path.relpath(path, root_dir)
