"""The data node: reads the dataset once and serves it to the learners."""

import threading
import time
from typing import Any, Callable, Iterator, Sequence, Tuple, Union

from acme import types
import numpy as np

from ..datasets.delivery import serving
from ..datasets.delivery import store
from . import shutdown

# A whole dataset, or one in blocks of transitions, which need not fit memory.
Dataset = Union[types.Transition, Iterator[types.Transition]]

# Seconds between two lines that tell how much was read.
_REPORT_EVERY = 5.


def make_store(dataset: Dataset) -> store.Store:
  """Returns where a dataset is kept: blocks on disk, whole ones in memory."""
  if isinstance(dataset, types.Transition):
    return store.MemoryStore(dataset)
  return store.DiskStore(_reported(dataset))


def _reported(blocks: Iterator[types.Transition]) -> Iterator[types.Transition]:
  done, said = 0, time.time()
  for block in blocks:
    yield block
    done += len(block.reward)
    if time.time() - said > _REPORT_EVERY:
      said = time.time()
      print(f'[data] {done:,} transitions read so far', flush=True)


class DataNode:
  """Owns the dataset and the Reverb server that it is read from.

  The dataset is read when the node is constructed. In a program its calls are
  answered after that, so that whoever calls also waits for the data; and if it
  cannot be read, the error ends the node and with it the program.
  """

  def __init__(self, dataset_factory: Callable[[], Dataset],
               readers: Sequence[str], host: str = 'localhost'):
    """Reads the dataset and starts serving it.

    Args:
      dataset_factory: returns the dataset, whole or in blocks.
      readers: a name for each process that will read it.
      host: the name under which they reach this machine.
    """
    self._stop = shutdown.begin()
    print('[data] reading the dataset ...', flush=True)
    start = time.time()
    self._server = serving.ChunkServer(
        make_store(dataset_factory()), readers, host=host)
    print(f'[data] {self._server.num_transitions():,} transitions read in '
          f'{time.time() - start:.1f} s', flush=True)

  # What learners call; see `serving.ChunkServer`.

  def readers(self) -> Sequence[str]:
    return self._server.readers()

  def num_transitions(self) -> int:
    return self._server.num_transitions()

  def example(self) -> store.Columns:
    return self._server.example()

  def observation_statistics(self) -> Tuple[np.ndarray, np.ndarray]:
    return self._server.observation_statistics()

  def open(self, reader: str) -> str:
    print(f'[data] sending the dataset to {reader}', flush=True)
    return self._server.open(reader)

  def open_stream(self, reader: str, seed: int, epoch: int, item: int) -> str:
    print(f'[data] streaming to {reader} from epoch {epoch} on', flush=True)
    return self._server.open_stream(reader, seed, epoch, item)

  def run(self) -> None:
    """Serves until the program ends."""
    self._stop.wait()
    self._server.stop()


class DataClient:
  """Calls a data node, as long as the program does not end."""

  def __init__(self, data: Any, stop: threading.Event):
    """Creates the client.

    Args:
      data: Courier client of the node.
      stop: the program's stop event; the calls raise `lifetime.Stopped` then.
    """
    self._data = data
    self._stop = stop

  def _call(self, method: str, *args):
    return shutdown.result(
        getattr(self._data.futures, method)(*args), self._stop)

  def readers(self) -> Sequence[str]:
    return self._call('readers')

  def num_transitions(self) -> int:
    return self._call('num_transitions')

  def example(self) -> store.Columns:
    return self._call('example')

  def observation_statistics(self) -> Tuple[np.ndarray, np.ndarray]:
    return self._call('observation_statistics')

  def open(self, reader: str) -> str:
    return self._call('open', reader)

  def open_stream(self, reader: str, seed: int, epoch: int, item: int) -> str:
    return self._call('open_stream', reader, seed, epoch, item)
