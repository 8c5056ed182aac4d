"""A command that starts a run, and the processes of its nodes."""

import os
import signal
import subprocess
import time
from typing import Callable, List, Mapping, Optional, Sequence

import psutil

from ...launch import shutdown

# Seconds after which a program counts as hanging, on a busy machine.
HANGS_AFTER = 900.


class Hanging(RuntimeError):
  """What was waited for did not come."""


class Program:
  """A command in a session of its own, so that all its processes are found.

  A context manager: no process of the session outlives it.
  """

  def __init__(self, command: Sequence[str], output: str,
               env: Mapping[str, str] = {}):
    """Starts the command.

    Args:
      command: the program and its arguments.
      output: a file to which all processes append what they print.
      env: environment variables to add.
    """
    self._path = output
    self._offset = os.path.getsize(output) if os.path.exists(output) else 0
    with open(output, 'a') as file:
      self._popen = subprocess.Popen(
          list(command), stdin=subprocess.DEVNULL, stdout=file,
          stderr=subprocess.STDOUT, env={**os.environ, **env},
          start_new_session=True)
    self.pid = self._popen.pid
    self.started = time.time()

  def __enter__(self) -> 'Program':
    return self

  def __exit__(self, *unused_error) -> None:
    while processes := self.processes():
      for process in processes:
        send(process, signal.SIGKILL)
      time.sleep(0.05)
    self._popen.wait()

  def processes(self, group: Optional[str] = None) -> List[psutil.Process]:
    """Returns the living processes, oldest first.

    Args:
      group: 'launcher', or a node's group: 'data', 'learner' or 'evaluator'.
        None means all, with the helpers that the nodes start.
    """
    found = []
    for process in psutil.process_iter():
      try:
        if (os.getsid(process.pid) == self.pid
            and shutdown.is_alive(process)
            and group in (None, self.group(process))):
          found.append(process)
      except (psutil.Error, OSError):
        pass  # It has ended.
    return sorted(found, key=lambda process: process.create_time())

  def group(self, process: psutil.Process) -> str:
    """Returns a process's group: 'launcher', 'data', ..., or 'helper'."""
    if process.pid == self.pid:
      return 'launcher'
    if any('process_entry.py' in word for word in process.cmdline()[:3]):
      return process.environ().get(shutdown.GROUP, 'helper')
    return 'helper'

  def is_over(self) -> bool:
    """Returns whether the command has ended."""
    return self._popen.poll() is not None

  def wait_until(self, condition: Callable[[], bool]) -> bool:
    """Waits for a condition, or for the end of the command.

    Args:
      condition: is asked often.

    Returns:
      Whether the condition came true.

    Raises:
      Hanging: if neither comes.
    """
    deadline = time.time() + HANGS_AFTER
    while not (met := condition()) and not self.is_over():
      if time.time() > deadline:
        raise Hanging(f'nothing happens; the output was:\n{self.output()}')
      time.sleep(0.02)
    return met or condition()

  def wait(self) -> int:
    """Waits until no process is left; returns the command's exit code.

    Raises:
      Hanging: if processes stay.
    """
    deadline = time.time() + HANGS_AFTER
    while left := self.processes():
      if time.time() > deadline:
        raise Hanging(f'{left} do not end; the output was:\n{self.output()}')
      time.sleep(0.05)
    return self._popen.wait()

  def output(self) -> str:
    """Returns what this program has printed so far."""
    with open(self._path, errors='replace') as file:
      file.seek(self._offset)
      return file.read()


def send(process: psutil.Process, number: int) -> bool:
  """Sends a signal; returns False if the process has ended already."""
  try:
    process.send_signal(number)
    return True
  except psutil.NoSuchProcess:
    return False
