"""A stream of shuffled minibatches whose position can be saved."""

import queue
from typing import Callable, Iterator, Mapping, Optional

from acme import types
import numpy as np

from . import background
from . import chunks
from . import store as stores

# Transitions in the shuffle buffer, by default.
SHUFFLE_BUFFER = 200_000


class Stream(Iterator[types.Transition]):
  """Minibatches of one reader's share, each transition once in each epoch.

  Minibatches continue across the ends of shuffle buffers and epochs, so that
  all have one size. `make.make_stream` makes streams.

  Attributes:
    observation_statistics: returns mean and standard deviation of the whole
      dataset's observations, `[O]` each.
  """

  def __init__(
      self,
      open_chunks: Callable[[int, int], Iterator[chunks.Chunk]],
      order: chunks.Order,
      batch_size: int,
      shuffle_buffer: int,
      observation_statistics: Callable[[], tuple[np.ndarray, np.ndarray]],
  ):
    """Creates the stream; nothing is read before the first minibatch.

    Args:
      open_chunks: returns the chunks from an epoch and a chunk on, endlessly.
      order: the order of these chunks.
      batch_size: as for `make.make_stream`, like the others.
      shuffle_buffer: at least one chunk is used.
      observation_statistics: becomes the attribute.
    """
    for name, value in (
        ('batch_size', batch_size), ('shuffle_buffer', shuffle_buffer)):
      if value < 1:
        raise ValueError(f'{name}={value}: it must be at least 1.')
    self._open_chunks = open_chunks
    self._order = order
    self._batch_size = batch_size
    self._chunks_per_buffer = max(1, shuffle_buffer // chunks.CHUNK)
    self.observation_statistics = observation_statistics
    self._epoch, self._row = 0, 0  # Of the next minibatch's first transition.
    # One fills the shuffle buffer, the other one takes minibatches from it.
    self._threads: list[background.Background] = []
    self._next: Optional[tuple] = None  # A minibatch that `wait` has received.

  def save(self) -> dict[str, int]:
    """Returns the position after the last minibatch."""
    return {'epoch': self._epoch, 'row': self._row,
            'num_transitions': self._order.num_transitions,
            'seed': self._order.seed, 'num_shards': self._order.num_readers}

  def restore(self, position: Mapping[str, int]) -> None:
    """Continues from a saved position.

    If the number of readers has changed, the epoch begins again: the rows that
    another number of readers had left are in no reader's share.

    Args:
      position: from `save`.

    Raises:
      ValueError: if the position belongs to another dataset or seed.
      RuntimeError: if a minibatch was taken already.
    """
    if self._threads:
      raise RuntimeError(
          'Restore the stream before its first minibatch is taken.')
    current = self.save()
    for name in ('num_transitions', 'seed'):
      if position[name] != current[name]:
        raise ValueError(
            f'the saved position in the dataset is one for {name}='
            f'{position[name]}, but here {name}={current[name]}. Continue with '
            'the same data and seed, or begin a new run.')
    self._epoch = position['epoch']
    if position['num_shards'] == current['num_shards']:
      self._row = position['row']

  def close(self) -> None:
    """Ends the stream and its threads."""
    for thread in self._threads:
      thread.close()

  def wait(self, timeout: Optional[float] = None) -> bool:
    """Waits for the next minibatch, and leaves it and the position there.

    Args:
      timeout: seconds; by default there is no limit.

    Returns:
      Whether the minibatch has come.
    """
    if not self._threads:
      buffers = background.Background(
          self._buffers(self._epoch, self._row), ahead=1)
      self._threads = [
          buffers, background.Background(self._cut(buffers), ahead=2)]
    if self._next is None:
      try:
        self._next = self._threads[-1].get(timeout)
      except queue.Empty:
        return False
    return True

  def __next__(self) -> types.Transition:
    self.wait()
    (batch, self._epoch, self._row), self._next = self._next, None
    return batch

  def _cut(self, buffers: Iterator[tuple]):
    """Yields minibatches, each with the epoch and the row after it."""
    parts, missing = [], self._batch_size
    for epoch, row, columns, rows in buffers:
      while rows.size:
        taken, rows = rows[:missing], rows[missing:]
        parts.append({name: np.take(column, taken, axis=0)
                      for name, column in columns.items()})
        missing -= len(taken)
        row += len(taken)
        if not missing:
          batch = parts[0] if len(parts) == 1 else {
              name: np.concatenate([part[name] for part in parts])
              for name in columns}
          yield stores.to_transition(batch), epoch, row
          parts, missing = [], self._batch_size

  def _buffers(self, epoch: int, row: int):
    """Yields shuffle buffers: `(epoch, first row, columns, rows in order)`."""
    received = None
    while True:
      sizes = self._order.chunk_sizes(epoch)
      first = 0  # The buffer's first row in the epoch.
      for buffer, start in enumerate(
          range(0, len(sizes), self._chunks_per_buffer)):
        stop = min(start + self._chunks_per_buffer, len(sizes))
        size = int(sizes[start:stop].sum())
        if row < first + size:
          if received is None:
            received = self._open_chunks(epoch, start)
          columns = chunks.unpack(
              received, [chunks.Header(epoch, i, self._order.num_transitions)
                         for i in range(start, stop)], size)
          rows = self._order.permutation(epoch, buffer, size)
          skipped = max(0, row - first)
          yield epoch, first + skipped, columns, rows[skipped:]
        first += size
      epoch, row = epoch + 1, 0
