"""Runs a file as a program of several processes, and watches it."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import psutil

# Seconds after which a process counts as hanging, on a busy machine.
_TIMEOUT = 900


class Program:
  """A file as a process that leads a new session.

  A context manager: no process of the session outlives it.
  """

  def __init__(self, arguments, output):
    """Starts it.

    Args:
      arguments: the file, and what it is given.
      output: a file for what all processes print.
    """
    self._output = output
    with open(output, 'w') as f:
      self._process = subprocess.Popen(
          [sys.executable, *arguments], stdout=f, stderr=subprocess.STDOUT,
          start_new_session=True)
    self.pid = self._process.pid

  def __enter__(self):
    return self

  def __exit__(self, *unused_error):
    for process in self.session():
      process.kill()
    self._process.wait()

  def session(self):
    """Returns the processes that live in the session."""
    found = []
    for process in psutil.process_iter():
      try:
        if (os.getsid(process.pid) == self.pid
            and process.status() != psutil.STATUS_ZOMBIE):
          found.append(process)
      except (ProcessLookupError, psutil.NoSuchProcess):
        pass
    return found

  def sockets(self):
    """Returns where the session listens: Unix sockets' paths, and ports."""
    found = [connection for process in self.session()
             for connection in process.net_connections('all')]
    paths = {connection.laddr for connection in found
             if connection.family == socket.AF_UNIX and connection.laddr}
    ports = {connection.laddr.port for connection in found
             if connection.status == psutil.CONN_LISTEN}
    return paths, ports

  def learner(self):
    """Returns the learner's process: the one that may use accelerators."""
    [learner] = [
        process for process in psutil.Process(self.pid).children()
        if process.environ().get('CUDA_VISIBLE_DEVICES') != '']
    return learner

  def wait_until(self, condition):
    """Waits for a condition; fails if it never comes, or the program ends."""
    _wait_until(lambda: condition() or self._process.poll() is not None,
                self.output)
    assert condition(), self.output()

  def wait(self):
    """Waits for the end of all; returns the exit code and the output."""
    code = self._process.wait(_TIMEOUT)
    _wait_until(lambda: not self.session(), self.output)
    return code, self.output()

  def output(self):
    with open(self._output) as f:
      return f.read()


def is_open(port):
  """Returns whether other machines could connect to a port of this one."""
  addresses = [address for found in psutil.net_if_addrs().values()
               for address in found if address.family == socket.AF_INET
               and not address.address.startswith('127.')]
  assert addresses, 'This machine has no network to test with.'
  for address in addresses:
    with contextlib.suppress(OSError):
      socket.create_connection((address.address, port), timeout=5).close()
      return True
  return False


def _wait_until(condition, describe):
  deadline = time.time() + _TIMEOUT
  while not condition():
    assert time.time() < deadline, describe()
    time.sleep(0.1)
