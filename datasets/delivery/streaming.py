"""Shuffled epochs over a dataset of any size, shared out among readers.

The shuffle has two levels. Whoever holds the data cuts it into *runs* of
consecutive transitions, puts them into an order drawn anew for each epoch,
deals them out to the readers and packs them into items. A reader gathers items
into *pools*, and shuffles the transitions of a pool. The order is a function of
seed, epoch and reader alone, so a position in it is all that needs to be saved.
"""

import dataclasses
from typing import Callable, Iterator, Mapping, Optional, Sequence

from acme import types
import numpy as np

from . import background
from . import chunks
from . import store

# Transitions in a run: few, since neighbours resemble each other; but reading
# and sending them is cheap where the next observation is the next transition's.
RUN_LENGTH = 32
# Runs in an item: Reverb is at its best with some 4,000 transitions.
RUNS_PER_ITEM = 128
# Transitions in a pool, by default.
SHUFFLE_BUFFER = 200_000

# Returns the items of a reader from (epoch, item) on, without end.
OpenItems = Callable[[int, int], Iterator[chunks.Chunk]]

# Returns two vectors of the observations' size.
Statistics = Callable[[], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Order:
  """The order in which one reader gets its share of the transitions.

  Attributes:
    num_transitions: T, of the whole dataset.
    seed: of all shuffling.
    shard_index: which of the readers this is.
    num_shards: how many readers share the dataset.

  Raises:
    ValueError: if there is no such reader, or less than one run for each.
  """
  num_transitions: int
  seed: int
  shard_index: int = 0
  num_shards: int = 1

  def __post_init__(self):
    if not 0 <= self.shard_index < self.num_shards:
      raise ValueError(
          f'shard_index={self.shard_index} is not one of '
          f'num_shards={self.num_shards}, counted from 0.')
    if self._num_runs < self.num_shards:
      raise ValueError(
          f'num_shards={self.num_shards} is too many for '
          f'{self.num_transitions} transitions, which are dealt out '
          f'{RUN_LENGTH} at a time.')

  @property
  def _num_runs(self) -> int:
    return -(-self.num_transitions // RUN_LENGTH)

  def items(self, epoch: int) -> list[np.ndarray]:
    """Returns each item's runs `[R]`, by their first transitions."""
    runs = self._rng(epoch).permutation(self._num_runs)
    starts = runs[self.shard_index::self.num_shards] * RUN_LENGTH
    return np.split(
        starts, np.arange(RUNS_PER_ITEM, len(starts), RUNS_PER_ITEM))

  def item_sizes(self, epoch: int) -> np.ndarray:
    """Returns the transitions in each item, `[K]`."""
    return np.array([
        np.minimum(RUN_LENGTH, self.num_transitions - starts).sum()
        for starts in self.items(epoch)])

  def shuffled(self, epoch: int, pool: int, size: int) -> np.ndarray:
    """Returns the order of a pool's transitions, `[size]`."""
    return self._rng(epoch, self.shard_index, pool).permutation(size)

  def _rng(self, *position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(
        np.random.SeedSequence((self.seed, *position))))


def make_items(
    store: store.Store,
    order: Order,
    session: int,
    epoch: int,
    item: int,
) -> Iterator[chunks.Chunk]:
  """Packs one reader's items, one by one as they are asked for, without end.

  Args:
    store: the dataset.
    order: the reader's.
    session: an integer that all of them carry.
    epoch: where to begin.
    item: likewise, within the epoch.

  Yields:
    Chunks with the headers [session, epoch, item, number of items, T].
  """
  while True:
    items = order.items(epoch)
    for index in range(item, len(items)):
      yield chunks.pack(
          store.read_runs(items[index], RUN_LENGTH),
          [session, epoch, index, len(items), store.num_transitions])
    epoch, item = epoch + 1, 0


class Stream(Iterator[types.Transition]):
  """Batches of one reader's share, each transition once in each epoch.

  Batches go on across the ends of pools and epochs, so that all have one size;
  only where the number of epochs is limited the last one may be smaller.
  """

  def __init__(
      self,
      open_items: OpenItems,
      order: Order,
      batch_size: int,
      num_epochs: Optional[int] = None,
      shuffle_buffer: int = SHUFFLE_BUFFER,
      observation_statistics: Optional[Statistics] = None,
  ):
    """Creates the stream; nothing is read before the first batch is asked for.

    Args:
      open_items: where the items come from.
      order: the same as that of the items.
      batch_size: transitions per batch.
      num_epochs: when to end; by default never.
      shuffle_buffer: transitions in a pool; about three times as many are held
        in memory.
      observation_statistics: returns mean and standard deviation of the whole
        dataset's observations, for whoever is given the stream.

    Raises:
      ValueError: naming the argument, if a number is not positive.
    """
    for name, value in (('batch_size', batch_size), ('num_epochs', num_epochs),
                        ('shuffle_buffer', shuffle_buffer)):
      if value is not None and value < 1:
        raise ValueError(f'{name}={value}: it must be at least 1.')
    self._open_items = open_items
    self._order = order
    self._batch_size = batch_size
    self._num_epochs = num_epochs
    self.observation_statistics = observation_statistics
    self._items_per_pool = max(
        1, shuffle_buffer // (RUN_LENGTH * RUNS_PER_ITEM))
    self._epoch, self._row = 0, 0  # Of the next batch's first transition.
    self._items: Optional[Iterator[chunks.Chunk]] = None
    self._full_pools: Optional[background.Background] = None
    self._batches: Optional[background.Background] = None

  def save(self) -> dict[str, int]:
    """Returns the position after the last batch, as plain numbers."""
    return {'epoch': self._epoch, 'row': self._row,
            'num_transitions': self._order.num_transitions,
            'seed': self._order.seed, 'num_shards': self._order.num_shards}

  def restore(self, position: Mapping[str, int]):
    """Goes on from a position that was saved.

    What one of another number of readers had not got to in its epoch cannot be
    told, so that epoch begins anew.

    Args:
      position: from `save`.

    Raises:
      ValueError: if the position is one of another dataset or seed.
      RuntimeError: if batches were taken already.
    """
    if self._batches is not None:
      raise RuntimeError('Restore the stream before its first batch is taken.')
    own = self.save()
    for name in ('num_transitions', 'seed'):
      if position[name] != own[name]:
        raise ValueError(
            f'the saved position in the dataset is one for {name}='
            f'{position[name]}, but here {name}={own[name]}. Go on with the '
            'same data and seed, or begin a new run.')
    self._epoch = position['epoch']
    if position['num_shards'] == own['num_shards']:
      self._row = position['row']

  def close(self):
    """Ends the stream and the threads behind it."""
    # In the direction of the data, so that nobody goes on waiting for any.
    for source in (self._items, self._full_pools, self._batches):
      if hasattr(source, 'close'):
        source.close()

  def __next__(self) -> types.Transition:
    if self._batches is None:
      # Two threads: one gathers the next pool while the other cuts batches.
      self._full_pools = background.Background(
          self._pools(self._epoch, self._row), ahead=1)
      self._batches = background.Background(
          self._cut(self._full_pools), ahead=2)
    batch, self._epoch, self._row = next(self._batches)
    return batch

  def _pools(self, epoch: int, row: int):
    """Yields `(epoch, first row, columns, rows in their order)`."""
    while self._num_epochs is None or epoch < self._num_epochs:
      sizes = self._order.item_sizes(epoch)
      first = 0  # The pool's first row in the epoch.
      for pool, start in enumerate(
          range(0, len(sizes), self._items_per_pool)):
        of_pool = sizes[start:start + self._items_per_pool]
        size = int(of_pool.sum())
        if row < first + size:
          if self._items is None:
            self._items = self._open_items(epoch, start)
          columns = self._gather(epoch, start, of_pool)
          rows = self._order.shuffled(epoch, pool, size)[max(0, row - first):]
          yield epoch, max(row, first), columns, rows
        first += size
      epoch, row = epoch + 1, 0

  def _gather(
      self, epoch: int, start: int, sizes: np.ndarray,
  ) -> Mapping[str, np.ndarray]:
    """Unpacks the items of a pool into columns."""
    columns, row = None, 0
    for expected, size in enumerate(sizes, start):
      chunk = next(self._items)
      _, found_epoch, found, _, total = chunk['header'].tolist()
      if total != self._order.num_transitions:
        raise RuntimeError(
            f'the dataset has {total} transitions now, and '
            f'{self._order.num_transitions} before.')
      if (found_epoch, found) != (epoch, expected):
        raise RuntimeError(
            f'item {found} of epoch {found_epoch} came where item {expected} '
            f'of epoch {epoch} was due: another process reads the same table, '
            'or it was opened again. Give each reader a table of its own.')
      if columns is None:
        columns = chunks.empty(chunk, int(sizes.sum()))
      row = chunks.fill(columns, row, chunk)
    return columns

  def _cut(self, pools):
    """Yields `(batch, epoch, row)`: what comes next after the batch."""
    parts, missing = [], self._batch_size
    for epoch, row, columns, rows in pools:
      while rows.size:
        now, rows = rows[:missing], rows[missing:]
        parts.append((columns, now))
        missing -= len(now)
        row += len(now)
        if not missing:
          yield _take(parts, self._batch_size), epoch, row
          parts, missing = [], self._batch_size
    if parts:
      yield _take(parts, self._batch_size - missing), epoch, row


def _take(
    parts: Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]], size: int,
) -> types.Transition:
  """Takes rows of several pools' columns as one batch."""
  (columns, _), *_ = parts
  batch = {name: np.empty((size,) + column.shape[1:], column.dtype)
           for name, column in columns.items()}
  stop = 0
  for columns, rows in parts:
    start, stop = stop, stop + len(rows)
    for name, column in columns.items():
      # Any mode but 'raise' spares a copy.
      np.take(column, rows, axis=0, out=batch[name][start:stop], mode='clip')
  return store.to_transition(batch)


def open_locally(store: store.Store, order: Order) -> OpenItems:
  """Returns the items of a store in this process."""
  # A map cannot be closed, unlike a generator, which must not be by a thread
  # that does not run it.
  return lambda epoch, item: map(
      dict, make_items(store, order, 0, epoch, item))
