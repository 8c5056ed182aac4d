"""The data node: reads the dataset once and serves it to the learners."""

import threading
import time
from typing import Any, Callable, Iterator, Optional

from . import quiet
from . import shutdown
from ..datasets import delivery
from ..datasets.delivery import server

# Seconds between two lines that tell how much was read.
_REPORT_EVERY = 5.


def make_store(dataset: delivery.Dataset,
               stop: threading.Event) -> delivery.Store:
  """Returns a dataset's store, and prints how much was read meanwhile.

  Args:
    dataset: the dataset, whole or in blocks.
    stop: the program's stop event.

  Raises:
    shutdown.Stopped: if the program ends while blocks are read.
  """
  return delivery.make_store(
      _reported(dataset, stop) if isinstance(dataset, Iterator) else dataset)


def _reported(blocks: Iterator[Any], stop: threading.Event) -> Iterator[Any]:
  done, said = 0, time.time()
  for block in blocks:
    shutdown.check(stop)
    yield block
    done += len(block.reward)
    if time.time() - said > _REPORT_EVERY:
      said = time.time()
      print(f'[data] {done:,} transitions read so far', flush=True)


class DataNode(server.Server):
  """The dataset's server as a node of a program.

  The node answers calls once it has read the dataset, so that a caller also
  waits for the data. An error in reading ends the node and the program.
  """

  def __init__(self, dataset_factory: Callable[[], delivery.Dataset],
               num_readers: int, host: str = 'localhost'):
    """Reads the dataset and starts the server.

    Args:
      dataset_factory: returns the dataset, whole or in blocks.
      num_readers: how many learner hosts share it.
      host: the name under which they reach this machine.
    """
    self._stop = shutdown.begin()
    print('[data] reading the dataset ...', flush=True)
    start = time.time()
    store = make_store(dataset_factory(), self._stop)
    with quiet.hidden_stderr():  # Reverb prints a banner.
      super().__init__(store, num_readers, host=host)
    print(f'[data] {self.num_transitions():,} transitions read in '
          f'{time.time() - start:.1f} s', flush=True)

  def open(self, reader: int, seed: Optional[int] = None, epoch: int = 0,
           chunk: int = 0) -> str:
    what = ('sending the dataset' if seed is None else
            f'streaming from epoch {epoch}')
    print(f'[data] {what} to learner host {reader}', flush=True)
    return super().open(reader, seed, epoch, chunk)

  def run(self) -> None:
    """Serves until the program ends."""
    shutdown.wait(self._stop)
    with quiet.hidden_stderr():
      self.stop()


class DataClient:
  """Calls the methods of a data node until the program ends."""

  def __init__(self, data: Any, stop: threading.Event):
    """Creates the client.

    Args:
      data: client of the node.
      stop: the program's stop event; then all calls raise `shutdown.Stopped`.
    """
    self._data, self._stop = data, stop

  def __getattr__(self, method: str) -> Callable[..., Any]:
    return lambda *args: shutdown.result(
        getattr(self._data, method)(*args), self._stop)
