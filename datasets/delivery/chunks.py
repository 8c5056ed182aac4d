"""Chunks of transitions: their order, how they are packed and unpacked.

The next observation (and action) of most recorded transitions is the
observation (and action) of the following transition. A chunk holds only the
other ones, the *odd* ones, which halves what is compressed and sent. Rows are
compared bit by bit, so the unpacked transitions have the same bits.
"""

import dataclasses
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np

from . import store as stores

# Transitions in a slice. Neighbours resemble each other, so there are few; but
# consecutive transitions are faster to read and to send.
SLICE = 32
# Transitions in a chunk: Reverb is fastest with items of about 4,000.
CHUNK = 128 * SLICE

# `CHUNK` transitions; columns `[n, ...]` but those named here, which hold the
# odd rows `[m, ...]` alone; 'odd' `[m]` int32, their indices; and 'header'.
Chunk = Mapping[str, np.ndarray]
_REPEATED = {'next_observation': 'observation', 'next_action': 'action'}


class Header(NamedTuple):
  """Identifies a chunk.

  Attributes:
    epoch: 0 for a resident dataset.
    chunk: its number in the reader's share of the epoch.
    num_transitions: T, of the whole dataset.
  """
  epoch: int
  chunk: int
  num_transitions: int


@dataclasses.dataclass(frozen=True)
class Order:
  """The order in which one reader gets its share of the transitions.

  Attributes:
    num_transitions: T, of the whole dataset.
    seed: of all shuffling.
    reader: this reader's number.
    num_readers: how many readers share the dataset.

  Raises:
    ValueError: if there is no such reader, or less than one slice for each.
  """
  num_transitions: int
  seed: int
  reader: int = 0
  num_readers: int = 1

  def __post_init__(self):
    if not 0 <= self.reader < self.num_readers:
      raise ValueError(
          f'reader={self.reader} is not one of num_readers={self.num_readers}, '
          'counted from 0.')
    if self._num_slices < self.num_readers:
      raise ValueError(
          f'num_readers={self.num_readers} is too many for '
          f'{self.num_transitions} transitions, which are dealt out {SLICE} at '
          'a time.')

  @property
  def _num_slices(self) -> int:
    return -(-self.num_transitions // SLICE)

  def slices(self, epoch: int) -> list[np.ndarray]:
    """Returns the first rows `[R]` of each chunk's slices."""
    slices = self._rng(epoch).permutation(self._num_slices)
    starts = slices[self.reader::self.num_readers] * SLICE
    per_chunk = CHUNK // SLICE
    return np.split(starts, np.arange(per_chunk, len(starts), per_chunk))

  def chunk_sizes(self, epoch: int) -> np.ndarray:
    """Returns the number of transitions in each chunk, `[K]`."""
    return np.array([
        np.minimum(SLICE, self.num_transitions - starts).sum()
        for starts in self.slices(epoch)])

  def permutation(self, epoch: int, buffer: int, size: int) -> np.ndarray:
    """Returns the order of the transitions in a shuffle buffer, `[size]`."""
    return self._rng(epoch, self.reader, buffer).permutation(size)

  def _rng(self, *position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(
        np.random.SeedSequence((self.seed, *position))))


def resident_headers(num_transitions: int) -> list[Header]:
  """Returns the headers of the chunks of a resident dataset."""
  return [Header(0, chunk, num_transitions)
          for chunk in range(-(-num_transitions // CHUNK))]


def pack_resident(store: stores.Store) -> Iterator[Chunk]:
  """Yields the chunks of a whole dataset, in its order."""
  for header in resident_headers(store.num_transitions()):
    start = np.array([header.chunk * CHUNK])
    yield pack(store.read(start, CHUNK), header)


def pack_shuffled(
    store: stores.Store, order: Order, epoch: int, chunk: int,
) -> Iterator[Chunk]:
  """Yields the chunks of one reader's shuffled epochs, without end.

  Args:
    store: the dataset.
    order: the reader's.
    epoch: of the first chunk.
    chunk: the first one's number in that epoch.
  """
  while True:
    slices = order.slices(epoch)
    for number in range(chunk, len(slices)):
      yield pack(store.read(slices[number], SLICE),
                 Header(epoch, number, order.num_transitions))
    epoch, chunk = epoch + 1, 0


def pack(columns: stores.Columns, header: Header) -> Chunk:
  """Returns transitions as a chunk."""
  repeated = _REPEATED.keys() & columns.keys()
  odd = np.ones(len(columns['reward']), dtype=bool)
  odd[:-1] = np.any([
      _bits(columns[name][:-1]) != _bits(columns[_REPEATED[name]][1:])
      for name in repeated], axis=0)
  odd = np.flatnonzero(odd).astype(np.int32)
  return {'header': np.array(header, np.int64), 'odd': odd, **columns,
          **{name: columns[name][odd] for name in repeated}}


def _bits(rows: np.ndarray) -> np.ndarray:
  """Returns rows as opaque items `[n]`, which are fast to compare."""
  size = int(np.prod(rows.shape[1:]))
  return np.ascontiguousarray(rows).reshape(len(rows), size).view(
      f'V{size * rows.itemsize}')[:, 0]


def unpack(
    chunks: Iterator[Chunk],
    headers: Sequence[Header],
    size: int,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> dict[str, np.ndarray]:
  """Unpacks chunks into columns that are allocated once.

  Args:
    chunks: where the chunks come from.
    headers: of the chunks to take.
    size: the number of transitions in all of these chunks.
    progress: called after each chunk with the transitions so far and `size`.

  Returns:
    Columns `[size, ...]`.

  Raises:
    RuntimeError: if a chunk has another header.
  """
  columns: dict[str, np.ndarray] = {}
  stop = 0
  for expected in headers:
    chunk = next(chunks)
    found = Header(*chunk['header'].tolist())
    if found != expected:
      raise RuntimeError(
          f'expected chunk {expected.chunk} of epoch {expected.epoch} of '
          f'{expected.num_transitions} transitions, but received chunk '
          f'{found.chunk} of epoch {found.epoch} of {found.num_transitions}: '
          'another process reads the same table, or opened it again. Give each '
          'reader its own number.')
    if not columns:
      columns = {
          name: np.empty((size,) + column.shape[1:], column.dtype)
          for name, column in chunk.items() if name not in ('header', 'odd')}
    start, stop = stop, stop + len(chunk['reward'])
    for name, column in columns.items():
      part = column[start:stop]
      if name in _REPEATED:
        part[:-1] = chunk[_REPEATED[name]][1:]
        part[chunk['odd']] = chunk[name]
      else:
        part[:] = chunk[name]
    progress(stop, size)
  return columns
