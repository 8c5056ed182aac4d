"""Chunks of transitions: how they are packed, and put together again.

In a dataset made of recorded rows the next observation (and action) of most
transitions is the observation (and action) of the following transition. A chunk
holds the others only, the *odd* ones, which halves what is compressed and sent.
The comparison is one of bits, so the rebuilt dataset is the same bit by bit.
"""

from typing import Any, Callable, Iterator, Mapping, Optional

from acme import types
import numpy as np

from . import store

Chunk = Mapping[str, np.ndarray]

# Which column the following transition usually repeats.
_REPEATED = {'next_observation': 'observation', 'next_action': 'action'}


def signature(
    store: store.Store,
) -> dict[str, tuple[tuple[Optional[int], ...], np.dtype]]:
  """Returns shape, with None for lengths that vary, and dtype of each field."""
  return {
      'header': ((5,), np.dtype(np.int64)),
      'odd': ((None,), np.dtype(np.int32)),
      **{name: ((None,) + column.shape[1:], column.dtype)
         for name, column in store.read(0, 1).items()}}


def count(chunk: Chunk) -> int:
  """Returns how many chunks there are in a chunk's pass."""
  return int(chunk['header'][2])


def pack(columns: store.Columns, header: list[int]) -> Chunk:
  """Makes a chunk.

  Args:
    columns: n transitions, by name.
    header: five integers, of whose meaning `fill` knows nothing.

  Returns:
    'header' `[5]` int64; 'odd' `[m]` int32, the positions of the odd
    transitions, the last being always one of them; the columns `[n, ...]`, but
    only the odd rows `[m, ...]` of the next observation and action.
  """
  part = dict(columns)
  odd = np.ones(len(part['reward']), dtype=bool)
  odd[:-1] = False
  for name in _REPEATED.keys() & part.keys():
    odd[:-1] |= _rows_differ(part[name][:-1], part[_REPEATED[name]][1:])
  odd = np.flatnonzero(odd).astype(np.int32)
  for name in _REPEATED.keys() & part.keys():
    part[name] = part[name][odd]
  return {'header': np.array(header, np.int64), 'odd': odd, **part}


def empty(chunk: Chunk, size: int) -> dict[str, np.ndarray]:
  """Returns columns `[size, ...]` to be filled with chunks like this one."""
  return {
      name: np.empty((size,) + column.shape[1:], column.dtype)
      for name, column in chunk.items() if name not in ('header', 'odd')}


def fill(columns: Mapping[str, np.ndarray], start: int, chunk: Chunk) -> int:
  """Unpacks a chunk into columns, from row `start` on.

  Args:
    columns: from `empty`.
    start: where the chunk's first row goes.
    chunk: from `pack`.

  Returns:
    The row after the chunk's last one.
  """
  rows = slice(start, start + len(chunk['reward']))
  for name, whole in columns.items():
    if name in _REPEATED:
      part = whole[rows]
      part[:-1] = chunk[_REPEATED[name]][1:]
      part[chunk['odd']] = chunk[name]
    else:
      whole[rows] = chunk[name]
  return rows.stop


def split(store: store.Store, size: int, session: int) -> Iterator[Chunk]:
  """Cuts a dataset into chunks, made one by one as they are asked for.

  Args:
    store: T transitions.
    size: transitions per chunk; the last one may hold fewer.
    session: an integer that all chunks of one pass carry.

  Yields:
    Chunks, see `pack`, with the headers [session, index, number of chunks,
    first row, T].
  """
  total = store.num_transitions
  number = -(-total // size)
  for index in range(number):
    start, stop = index * size, min((index + 1) * size, total)
    yield pack(store.read(start, stop), [session, index, number, start, total])


def _rows_differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Compares rows `[n, ...]` bit by bit; returns `[n]` bool."""
  if not len(a):
    return np.zeros(0, dtype=bool)
  # One opaque item per row: several times as fast as comparing numbers.
  row = f'V{a[0].nbytes}'
  a, b = (np.ascontiguousarray(x).reshape(len(x), -1).view(row) for x in (a, b))
  return (a != b)[:, 0]


def join(
    chunks: Iterator[Chunk],
    progress: Optional[Callable[[int, int], Any]] = None,
) -> types.Transition:
  """Puts chunks together again, in arrays that are allocated once.

  Args:
    chunks: those of one pass, in order; no more are taken than there are.
    progress: called after each chunk with the rows so far and in all.

  Returns:
    The dataset that was split.

  Raises:
    RuntimeError: if a chunk is missing, comes twice or out of order, or belongs
      to another pass.
  """
  chunk = next(chunks)
  session, index, number, start, total = chunk['header'].tolist()
  whole = empty(chunk, total)
  for expected in range(number):
    if expected:
      chunk = next(chunks)
      found, index, _, start, _ = chunk['header'].tolist()
      if found != session:
        raise RuntimeError(
            f'after {expected} of {number} chunks of a dataset came chunk '
            f'{index} of another pass over it: this table was opened again '
            'meanwhile. Give each reader a table of its own.')
    if index != expected:
      raise RuntimeError(
          f'chunk {index} of {number} of a dataset came where chunk {expected} '
          'was due: another process reads the same table. Give each reader a '
          'table of its own.')
    stop = fill(whole, start, chunk)
    if progress is not None:
      progress(stop, total)
  return store.to_transition(whole)
