"""How the nodes of a program wait for each other, and how they end."""

from concurrent import futures
import contextlib
import os
import signal
import threading
import time
from typing import Any, Callable, Iterator

import launchpad as lp
import psutil

from . import node_status
from . import quiet

# Names the launching process to the processes of its nodes.
LAUNCHER_PID = 'ACME_MSG_LAUNCHER_PID'
# Names a node's group to whoever watches its process: 'data', 'learner' or
# 'evaluator'.
GROUP = 'ACME_MSG_GROUP'


class Stopped(Exception):
  """The program is ending, so the call cannot complete."""


def check(stop: threading.Event) -> None:
  """Raises `Stopped` if the program is ending."""
  node_status.progress()
  if stop.is_set():
    raise Stopped()


def wait(stop: threading.Event) -> None:
  """Waits until the program ends.

  Python runs signal handlers in the main thread between bytecodes. If another
  thread receives the signal, a main thread that waits without a timeout never
  runs the handler.
  """
  while not stop.wait(timeout=0.5):
    node_status.progress()


def result(future: futures.Future, stop: threading.Event) -> Any:
  """Returns a remote call's result.

  A plain blocking call keeps Python from handling signals, so a node that waits
  for another one could not be stopped.

  Args:
    future: the call.
    stop: the program's stop event.

  Returns:
    The call's result.

  Raises:
    Stopped: if the program ends first.
  """
  while True:
    node_status.progress()
    try:
      return future.result(timeout=0.2)
    except futures.TimeoutError:
      if stop.is_set():
        future.cancel()
        raise Stopped() from None
    except Exception:
      # The other node may have been stopped a moment before this one.
      if stop.wait(2.):
        raise Stopped() from None
      raise


def begin() -> threading.Event:
  """Prepares the main thread of a node; returns the program's stop event.

  Ends this process soon after its launcher is gone. Launchpad ends the nodes
  with the launcher, except if the launcher is killed.
  """
  quiet.quiet_libraries()
  if LAUNCHER_PID in os.environ:
    # psutil also compares start times, because process ids are reused.
    launcher = psutil.Process(int(os.environ[LAUNCHER_PID]))
    threading.Thread(target=_watch, args=(launcher,), daemon=True).start()
  return lp.stop_event()


@contextlib.contextmanager
def on_signals(act: Callable[[int], None]) -> Iterator[None]:
  """Calls `act(number)` at SIGTERM and SIGINT while the body runs.

  Only a main thread receives signals; in other threads this has no effect.
  """
  previous = {}
  if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGTERM, signal.SIGINT):
      previous[number] = signal.signal(number, lambda number, _: act(number))
  try:
    yield
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


def is_alive(process: psutil.Process) -> bool:
  """Returns whether a process runs; a zombie does not."""
  try:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


def _watch(launcher: psutil.Process) -> None:
  while is_alive(launcher):
    time.sleep(1.)
  os._exit(1)  # Nothing can be saved: the other nodes end, too.
