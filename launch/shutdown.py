"""How the nodes of a program wait for each other, and how they end."""

from concurrent import futures
import os
import threading
import time
from typing import Any

from absl import logging
import launchpad as lp
import psutil

# Names the launching process to the processes of its nodes.
LAUNCHER_PID = 'ACME_MSG_LAUNCHER_PID'


class Stopped(Exception):
  """The program is ending; what was asked for will not happen any more."""


def check(stop: threading.Event) -> None:
  """Raises `Stopped` if the program is ending."""
  if stop.is_set():
    raise Stopped()


def result(future: futures.Future, stop: threading.Event) -> Any:
  """Returns a remote call's result.

  A plain blocking call keeps Python from handling signals, so that a node
  waiting for another one that never comes could not be stopped.

  Args:
    future: of the call.
    stop: the program's stop event.

  Returns:
    What the call returned.

  Raises:
    Stopped: if the program ends first.
  """
  while True:
    try:
      return future.result(timeout=0.2)
    except futures.TimeoutError:
      if stop.is_set():
        future.cancel()
        raise Stopped() from None
    except Exception:
      # The other node may have been told to stop, and gone, a moment earlier.
      if stop.wait(2.):
        raise Stopped() from None
      raise


def quiet() -> None:
  """Keeps what libraries log of their normal course out of the output."""
  logging.set_verbosity(logging.WARNING)


def begin() -> threading.Event:
  """Prepares the main thread of a node; returns the program's stop event.

  Ends this process soon after the one that launched it is gone: Launchpad's
  launcher ends its nodes, unless it is killed itself.
  """
  quiet()
  if LAUNCHER_PID in os.environ:
    # Known by its start time, too: numbers are used again.
    launcher = psutil.Process(int(os.environ[LAUNCHER_PID]))
    threading.Thread(target=_watch, args=(launcher,), daemon=True).start()
  return lp.stop_event()


def is_alive(process: psutil.Process) -> bool:
  """Returns whether a process runs, and does not only wait to be forgotten."""
  try:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


def _watch(launcher: psutil.Process) -> None:
  while is_alive(launcher):
    time.sleep(1.)
  os._exit(1)  # There is nobody to tell, and nothing left to finish.
