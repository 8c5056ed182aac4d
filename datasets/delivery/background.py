"""Iterates in a thread, ahead of whoever consumes the values."""

import queue
import threading
from typing import Generic, Iterator, Optional, TypeVar

T = TypeVar('T')


class Background(Generic[T]):
  """Iterates over what an iterator yields, run in a thread.

  Unlike a generator it can be closed by another thread than the consumer's.
  """

  def __init__(self, iterator: Iterator[T], ahead: int):
    """Starts the thread.

    Args:
      iterator: may block; if it does so for ever, the thread is left behind.
      ahead: values to hold at most that nobody has asked for yet, besides the
        one that waits for room.
    """
    self._received = queue.Queue()
    self._room = threading.Semaphore(ahead)
    self._closed = threading.Event()
    self._thread = threading.Thread(
        target=self._run, args=(iterator,), daemon=True)
    self._thread.start()

  def _run(self, iterator: Iterator[T]):
    try:
      for value in iterator:
        self._room.acquire()
        if self._closed.is_set():
          return
        self._received.put((value, False, None))
    except Exception as error:
      self._received.put((None, True, error))
    else:
      self._received.put((None, True, None))

  def __iter__(self) -> 'Background[T]':
    return self

  def __next__(self) -> T:
    return self.get(timeout=None)

  def get(self, timeout: Optional[float]) -> T:
    """Returns the next value.

    Args:
      timeout: seconds to wait for it; None waits without end.

    Raises:
      queue.Empty: if no value comes in time.
      StopIteration: after the last value, and when closed.
      Exception: whatever the iterator raises.
    """
    if self._closed.is_set():
      raise StopIteration
    value, last, error = self._received.get(timeout=timeout)
    if last:
      self.close()
      raise error or StopIteration
    self._room.release()
    return value

  def close(self, timeout: float = 0.):
    """Ends the iteration, for a consumer that waits in another thread, too.

    Args:
      timeout: seconds to wait for the end of the thread.
    """
    self._closed.set()
    self._room.release()
    self._received.put((None, True, None))
    if threading.current_thread() is not self._thread:
      self._thread.join(timeout)
