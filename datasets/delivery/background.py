"""Iterates in a thread, ahead of the consumer."""

import queue
import threading
from typing import Iterator, Optional, TypeVar

T = TypeVar('T')


class Background(Iterator[T]):
  """Iterates over an iterator in a daemon thread.

  A daemon thread does not delay the end of the process, even if it waits for a
  server that is gone.
  """

  def __init__(self, values: Iterator[T], ahead: int):
    """Starts the thread; it holds at most `ahead` values and the next one."""
    self._results: queue.Queue = queue.Queue()
    self._room = threading.Semaphore(ahead)
    self._closed = threading.Event()
    self._thread = threading.Thread(
        target=self._run, args=(values,), daemon=True)
    self._thread.start()

  def _run(self, values: Iterator[T]):
    try:
      for value in values:
        self._room.acquire()
        if self._closed.is_set():
          return
        self._results.put((value, None))
    except Exception as error:  # Raised again by `get`.
      self._results.put((None, error))
    else:
      self._results.put((None, StopIteration()))

  def __next__(self) -> T:
    return self.get()

  def get(self, timeout: Optional[float] = None) -> T:
    """Returns the next value; raises what the iterator raises.

    Args:
      timeout: seconds to wait for the value.

    Raises:
      queue.Empty: if there is no value in time.
      StopIteration: after the last value, and when closed.
    """
    while True:
      try:
        # A main thread that waits without a timeout may miss a signal.
        value, error = self._results.get(
            timeout=1. if timeout is None else timeout)
        break
      except queue.Empty:
        if timeout is not None:
          raise
    if error is not None:
      self._results.put((None, error))
      raise error
    self._room.release()
    return value

  def close(self, timeout: float = 10.) -> None:
    """Stops the thread, and waits for its end at most `timeout` seconds."""
    self._closed.set()
    self._room.release()
    self._results.put((None, StopIteration()))
    self._thread.join(timeout)
