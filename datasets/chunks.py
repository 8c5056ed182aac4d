"""Chunks of a dataset of transitions: how they are cut and put together.

In a dataset made of recorded rows the next observation (and action) of most
transitions is the observation (and action) of the following transition. A chunk
holds the others only, the *odd* ones, which halves what is compressed and sent.
The comparison is one of bits, so the rebuilt dataset is the same bit by bit.
"""

from typing import Any, Callable, Iterator, Mapping, Optional

from acme import types
import numpy as np

Chunk = Mapping[str, np.ndarray]

# Which column the following transition usually repeats.
_REPEATED = {'next_observation': 'observation', 'next_action': 'action'}


def columns(dataset: types.Transition) -> dict[str, np.ndarray]:
  """Names the columns `[T, ...]` of a dataset, and checks them.

  Args:
    dataset: T transitions with flat columns; `extras` is `()` or holds
      'next_action'.

  Raises:
    ValueError: if the dataset is empty, or a column is missing, too much or of
      another length.
  """
  named = {**dataset._asdict(), **(dataset.extras or {})}
  del named['extras']
  unknown = set(dataset.extras or {}) - set(_REPEATED)
  if unknown:
    raise ValueError(
        f'the dataset\'s extras hold {sorted(unknown)}; only next_action is '
        'known. Leave the others out.')
  lengths = {name: len(column) for name, column in named.items()}
  if len(set(lengths.values())) > 1 or not len(dataset.reward):
    raise ValueError(
        f'the columns of the dataset have the lengths {lengths}; they must be '
        'equal, and not 0.')
  return named


def signature(
    dataset: types.Transition,
) -> dict[str, tuple[tuple[Optional[int], ...], np.dtype]]:
  """Returns shape, with None for lengths that vary, and dtype of each field.

  Args:
    dataset: T transitions, see `columns`.

  Raises:
    ValueError: if the dataset is malformed.
  """
  return {
      'header': ((5,), np.dtype(np.int64)),
      'odd': ((None,), np.dtype(np.int32)),
      **{name: ((None,) + column.shape[1:], column.dtype)
         for name, column in columns(dataset).items()}}


def count(chunk: Chunk) -> int:
  """Returns how many chunks there are in a chunk's pass."""
  return int(chunk['header'][2])


def split(
    dataset: types.Transition, size: int, session: int) -> Iterator[Chunk]:
  """Cuts a dataset into chunks, made one by one as they are asked for.

  Args:
    dataset: T transitions.
    size: transitions per chunk; the last one may hold fewer.
    session: an integer that all chunks of one pass carry.

  Yields:
    Chunks of n transitions: 'header' [session, index, number of chunks, first
    row, T] int64; 'odd' `[m]` int32, the positions of the odd transitions, the
    last being always one of them; the columns `[n, ...]`, but only the odd
    rows `[m, ...]` of the next observation and action.
  """
  whole = columns(dataset)
  total = len(dataset.reward)
  number = -(-total // size)
  for index in range(number):
    rows = slice(index * size, min((index + 1) * size, total))
    part = {name: column[rows] for name, column in whole.items()}
    odd = np.ones(rows.stop - rows.start, dtype=bool)
    odd[:-1] = False
    for name in _REPEATED.keys() & part.keys():
      odd[:-1] |= _rows_differ(part[name][:-1], part[_REPEATED[name]][1:])
    odd = np.flatnonzero(odd).astype(np.int32)
    for name in _REPEATED.keys() & part.keys():
      part[name] = part[name][odd]
    yield {
        'header': np.array([session, index, number, rows.start, total]),
        'odd': odd,
        **part}


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
  first = next(chunks)
  session, index, number, start, total = first['header'].tolist()
  whole = {
      name: np.empty((total,) + column.shape[1:], column.dtype)
      for name, column in first.items() if name not in ('header', 'odd')}
  chunk = first
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
    rows = slice(start, start + len(chunk['reward']))
    for name, column in chunk.items():
      if name in _REPEATED:
        part = whole[name][rows]
        part[:-1] = chunk[_REPEATED[name]][1:]
        part[chunk['odd']] = column
      elif name in whole:
        whole[name][rows] = column
    if progress is not None:
      progress(rows.stop, total)
  next_action = whole.pop('next_action', None)
  extras = () if next_action is None else {'next_action': next_action}
  return types.Transition(**whole, extras=extras)
