"""Where transitions lie while they are served: in memory, or on disk.

Either store is read in whole ranges of rows, or in *runs*, short ranges at many
places. Columns are named as in `acme.types.Transition`, with the next action
beside them.
"""

import os
import tempfile
from typing import Iterable, Mapping, Optional, Protocol, Sequence

from acme import types
import numpy as np

from .. import moments

Columns = Mapping[str, np.ndarray]

# Rows that are summed up at once.
_BLOCK = 100_000

# The columns of a transition that has them all, in the order of a record.
_NAMES = ('observation', 'action', 'reward', 'discount', 'next_observation',
          'next_action')


class Store(Protocol):
  """T transitions that can be read from any place on.

  Attributes:
    num_transitions: T.
  """
  num_transitions: int

  def read(self, start: int, stop: int) -> Columns:
    """Returns the rows `[stop - start, ...]` from `start` to before `stop`."""

  def read_runs(self, starts: np.ndarray, length: int) -> Columns:
    """Returns runs of rows, one after the other.

    Args:
      starts: `[R]`, each run's first row.
      length: rows of each run; one that reaches over the end is shorter.
    """

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the observations, `[O]` each."""


def to_columns(transitions: types.Transition) -> dict[str, np.ndarray]:
  """Names the columns `[T, ...]` of transitions, and checks them.

  Args:
    transitions: T transitions with flat columns; `extras` is `()` or holds
      'next_action'.

  Raises:
    ValueError: if there are none, or a column is missing, too much or of
      another length.
  """
  extras = transitions.extras or {}
  unknown = set(extras) - {'next_action'}
  if unknown:
    raise ValueError(
        f'the dataset\'s extras hold {sorted(unknown)}; only next_action is '
        'known. Leave the others out.')
  named = {**transitions._asdict(), **extras}
  del named['extras']
  lengths = {name: len(column) for name, column in named.items()}
  if len(set(lengths.values())) > 1 or not len(transitions.reward):
    raise ValueError(
        f'the columns of the dataset have the lengths {lengths}; they must be '
        'equal, and not 0.')
  return named


def to_transition(columns: Columns) -> types.Transition:
  """The inverse of `to_columns`."""
  columns = dict(columns)
  next_action = columns.pop('next_action', None)
  extras = () if next_action is None else {'next_action': next_action}
  return types.Transition(**columns, extras=extras)


class MemoryStore:
  """Transitions in this process's memory; nothing is copied."""

  def __init__(self, dataset: types.Transition):
    """Takes a dataset.

    Args:
      dataset: T transitions, see `to_columns`.

    Raises:
      ValueError: if the dataset is malformed.
    """
    self._columns = to_columns(dataset)
    self.num_transitions = len(dataset.reward)

  def read(self, start: int, stop: int) -> Columns:
    return {name: column[start:stop] for name, column in self._columns.items()}

  def read_runs(self, starts: np.ndarray, length: int) -> Columns:
    rows = _rows(starts, length, self.num_transitions)
    return {name: np.take(column, rows, axis=0)
            for name, column in self._columns.items()}

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    found = moments.Moments()
    observation = self._columns['observation']
    for start in range(0, len(observation), _BLOCK):
      found.add(observation[start:start + _BLOCK])
    return found.mean, found.std


class DiskStore:
  """Transitions in a temporary file, of which nothing is kept in memory.

  The file is gone when the process ends, however it ends. It lies where
  Python's `tempfile` puts it; the environment variable TMPDIR moves it.
  """

  def __init__(self, blocks: Iterable[types.Transition]):
    """Writes blocks of transitions, one after the other.

    Args:
      blocks: T transitions in all, see `to_columns`; float32.

    Raises:
      ValueError: if there is no transition, or a block is malformed or unlike
        the one before it.
      OSError: if the disk is full; the message says where the file lies.
    """
    self._file = tempfile.TemporaryFile(prefix='acme_msg-')
    self._observation = moments.Moments()
    self._shapes: Optional[dict[str, tuple[int, ...]]] = None
    self.num_transitions = 0
    for block in blocks:
      self._append(to_columns(block))
    if not self.num_transitions:
      raise ValueError('the dataset has no transition.')
    self._file.flush()

  def _append(self, columns: Columns):
    shapes = {name: columns[name].shape[1:] for name in _NAMES
              if name in columns}
    for name, column in columns.items():
      if column.dtype != np.float32 or column.ndim > 2:
        raise ValueError(
            f'{name} has the type {column.dtype} and the shape {column.shape}; '
            'a dataset that is kept on disk holds float32 vectors and scalars.')
    if self._shapes is None:
      self._shapes = shapes
    if shapes != self._shapes:
      raise ValueError(
          f'after {self.num_transitions} transitions of shapes {self._shapes} '
          f'came some of shapes {shapes}.')
    records = np.concatenate(
        [columns[name].reshape(len(columns[name]), -1) for name in shapes], 1)
    try:
      self._file.write(records.data)
    except OSError as error:
      raise OSError(
          error.errno, f'{error.strerror} after {self.num_transitions} '
          f'transitions; the data is kept in {tempfile.gettempdir()}, set '
          'TMPDIR to a directory with more room') from error
    self._observation.add(columns['observation'])
    self._width = records.shape[1]
    self.num_transitions += len(records)

  def read(self, start: int, stop: int) -> Columns:
    return self._read([(start, stop)])

  def read_runs(self, starts: np.ndarray, length: int) -> Columns:
    end = self.num_transitions
    return self._read([
        (start, min(start + length, end)) for start in starts.tolist()])

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    return self._observation.mean, self._observation.std

  def _read(self, ranges: Sequence[tuple[int, int]]) -> Columns:
    total = sum(stop - start for start, stop in ranges)
    records = np.empty((total, self._width), np.float32)
    row_bytes = records.itemsize * self._width
    row = 0
    for start, stop in ranges:
      part = records[row:row + stop - start]
      # The position is the call's own: readers' threads share the file.
      found = os.preadv(self._file.fileno(), [part.data], start * row_bytes)
      assert found == part.nbytes, (found, part.nbytes)
      row += stop - start
    columns, column = {}, 0
    for name, shape in self._shapes.items():
      width = int(np.prod(shape))
      columns[name] = np.ascontiguousarray(
          records[:, column:column + width]).reshape((total,) + shape)
      column += width
    return columns


def _rows(starts: np.ndarray, length: int, end: int) -> np.ndarray:
  """Returns the indices of the runs' rows that lie before `end`."""
  rows = (starts[:, None] + np.arange(length)).reshape(-1)
  return rows[rows < end]
