"""The data node: reads the dataset once and serves it to the learner."""

import time
from typing import Callable, Sequence

from acme import types

from ..datasets import serving
from . import lifetime


class DataNode:
  """Owns the dataset and the Reverb server that it is read from.

  The dataset is read when the node is constructed. In a program its calls are
  answered after that, so that whoever calls also waits for the data; and if it
  cannot be read, the error ends the node and with it the program.
  """

  def __init__(self, dataset_factory: Callable[[], types.Transition],
               readers: Sequence[str]):
    """Reads the dataset and starts serving it.

    Args:
      dataset_factory: returns the dataset, T transitions.
      readers: a name for each process that will read it.
    """
    self._stop = lifetime.begin()
    print('[data] reading the dataset ...', flush=True)
    start = time.time()
    dataset = dataset_factory()
    self._server = serving.ChunkServer(dataset, readers)
    print(f'[data] {len(dataset.reward):,} transitions read in '
          f'{time.time() - start:.1f} s', flush=True)

  def open(self, reader: str) -> str:
    """Begins a pass over the data for a reader; returns the Reverb address."""
    self._server.open(reader)
    print(f'[data] sending the dataset to {reader}', flush=True)
    return f'localhost:{self._server.port}'

  def run(self) -> None:
    """Serves until the program ends."""
    self._stop.wait()
    self._server.stop()
