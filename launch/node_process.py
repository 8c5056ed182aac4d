"""The process of one node: starts it, watches it, and says how it has ended."""

import contextlib
import datetime
import os
import re
import signal
import subprocess
import threading
from typing import IO, Mapping, Optional, Sequence

import psutil

from . import node_status

# Seconds without progress after which a node is killed. A data node's may pass
# while the function that makes the dataset runs.
STALLED_SECS = {'evaluator': 600., 'data': 3600.}
# Seconds after which a node that was stopped by a signal (SIGSTOP) is killed.
STOPPED_SECS = 600.


class Node:
  """One node, in a process that may be started again.

  Attributes:
    name: as in 'evaluator/0'.
    group: as in 'evaluator'.
    process: its present process.
    restarts: how often it was started again since its last result.
    has_begun: whether it has ever made progress.
    error: why it fails, as it says itself or as its end by us is explained.
  """
  process: psutil.Process

  def __init__(self, name: str, command: Sequence[str],
               env: Mapping[str, str]):
    self.name = name
    self.group = name.partition('/')[0]
    self.restarts = 0
    self.has_begun = False
    self._command, self._env = command, env

  def start(self) -> None:
    """Starts the process."""
    self.error = ''
    self._idle = 0.
    self._has_warned = False
    self._printed = b''
    self._pipe = node_status.Pipe()
    try:
      self._popen = subprocess.Popen(
          self._command, pass_fds=[self._pipe.writer], stderr=subprocess.PIPE,
          env={**os.environ, **self._env,
               node_status.VARIABLE: str(self._pipe.writer)})
    finally:
      self._pipe.close_writer()
    self.process = psutil.Process(self._popen.pid)
    self._copier = threading.Thread(
        target=self._copy, args=(self._popen.stderr,), daemon=True)
    self._copier.start()

  def _copy(self, stderr: IO[bytes]) -> None:
    """Prints what the process writes to stderr, and keeps the last part."""
    with stderr:
      while part := os.read(stderr.fileno(), 1 << 16):
        self._printed = (self._printed + part)[-(1 << 16):]
        while part:
          part = part[os.write(2, part):]

  @property
  def ended(self) -> bool:
    """Whether the process has ended."""
    if self._popen.poll() is None:
      return False
    self.listen()
    return True

  @property
  def exit_code(self) -> int:
    """The exit code of a process that has ended; -N if signal N killed it."""
    return self._popen.returncode

  def end_of(self) -> str:
    """Returns in words how the process has ended."""
    self._copier.join(timeout=1.)  # As in `close`.
    code = self.exit_code
    if self.error:
      return f'failed: {self.error}'
    if code == -signal.SIGKILL:
      return 'was killed by SIGKILL (perhaps because memory ran out)'
    printed = self._printed.decode(errors='replace')
    if code and (host := lost_host(printed)) is not None:
      return f'ended because learner host {host} stopped responding'
    end = (f'ended with exit code {code}' if code >= 0 else
           f'was killed by {signal.Signals(-code).name}')
    # Python prints the stacks of all threads when a signal ends it.
    *_, last = printed.split('Fatal Python error:')[0].strip().split('\n')
    return f'{end}; it printed last: {last[:500]}' if code and last else end

  def listen(self) -> bool:
    """Reads what the process tells; returns whether it makes progress."""
    lines = self._pipe.lines()
    for line in lines:
      if line == node_status.EVALUATED:
        self.restarts = 0
      elif line != node_status.PROGRESS:
        self.error = line
    self.has_begun |= bool(lines) and not self.error
    return bool(lines)

  def close(self) -> None:
    """Prints the last output of a process that has ended; closes its pipe."""
    self._popen.wait()
    self._copier.join(timeout=1.)  # A child of it may keep stderr open.
    self.listen()
    self._pipe.close()

  def check_progress(self, seconds: float) -> None:
    """Warns of a process without progress, and kills it after a while.

    Args:
      seconds: time since the last call.
    """
    limit = STALLED_SECS.get(self.group)
    is_stopped = self._is_stopped()
    if is_stopped:
      limit = STOPPED_SECS
    elif self.listen():
      limit = None
    if limit is None:
      self._idle, self._has_warned = 0., False
      return
    self._idle += seconds
    since = datetime.datetime.now() - datetime.timedelta(seconds=self._idle)
    what = (f'{"is stopped by a signal" if is_stopped else "makes no progress"}'
            f' since {since:%H:%M:%S}')
    if self._idle > limit:
      self.error = f'it {what} ({self._idle:.0f} s)'
      kill(self.process)
    elif self._idle > limit / 10 and not self._has_warned:
      self._has_warned = True
      hint = ' `kill -CONT` lets it go on.' if is_stopped else ''
      say(f'the node {self.name} (pid {self.process.pid}) {what}. It will be '
          f'killed after {limit:g} s.{hint}')

  def _is_stopped(self) -> bool:
    try:
      return self.process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
      return False


def lost_host(printed: str) -> Optional[int]:
  """Returns the learner host that JAX's coordination service has lost.

  Args:
    printed: what the process of another host, which the service has ended,
      printed to stderr.
  """
  if lost := re.findall(
      r'stopped sending heartbeats.*\n.*/task:(\d+)', printed):
    return int(lost[-1])
  # Host 0 runs the service.
  return 0 if 'Failed to send RPC to coordination service' in printed else None


def kill(process: psutil.Process) -> None:
  """Kills a process and its children."""
  with contextlib.suppress(psutil.NoSuchProcess):
    for running in (*process.children(recursive=True), process):
      with contextlib.suppress(psutil.NoSuchProcess):
        running.kill()


def say(message: str) -> None:
  """Prints a line of the launcher's."""
  print(f'[launcher] {message}', flush=True)
