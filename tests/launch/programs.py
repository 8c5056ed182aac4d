"""Runs a file as a program of several processes, and watches it."""

import contextlib
import socket
import sys

from acme_msg.experiments.chaos import program
import psutil


class Program(program.Program):
  """A file as a process that leads a new session."""

  def __init__(self, arguments, output):
    """Starts it.

    Args:
      arguments: the file, and what it is given.
      output: a file for what all processes print.
    """
    super().__init__([sys.executable, *arguments], output)

  def sockets(self):
    """Returns where the session listens: Unix sockets' paths, and ports."""
    found = [connection for process in self.processes()
             for connection in process.net_connections('all')]
    paths = {connection.laddr for connection in found
             if connection.family == socket.AF_UNIX and connection.laddr}
    ports = {connection.laddr.port for connection in found
             if connection.status == psutil.CONN_LISTEN}
    return paths, ports

  def learner(self):
    """Returns the learner's process."""
    [learner] = self.processes('learner')
    return learner

  def wait_until(self, condition):
    """Waits for a condition; fails if the program ends before."""
    assert super().wait_until(condition), self.output()
    return True

  def wait(self):
    """Waits for the end of all; returns the exit code and the output."""
    return super().wait(), self.output()


def is_open(port):
  """Returns whether other machines could connect to a port of this one.

  Without a network besides the loopback device, none can.
  """
  addresses = [address for found in psutil.net_if_addrs().values()
               for address in found if address.family == socket.AF_INET
               and not address.address.startswith('127.')]
  for address in addresses:
    with contextlib.suppress(OSError):
      socket.create_connection((address.address, port), timeout=5).close()
      return True
  return False
