"""Stores of transitions: in memory, or in a temporary file.

Columns are named as in `acme.types.Transition`; 'next_action', which a
transition holds in its `extras`, is one of them.
"""

import abc
import os
import tempfile
from typing import Iterable, Mapping, Optional, Union

from acme import types
import numpy as np

from .. import moments

# A whole dataset, or one in blocks of transitions, which need not fit memory.
Dataset = Union[types.Transition, Iterable[types.Transition]]
Columns = Mapping[str, np.ndarray]

# Rows that are summed up at once.
_BLOCK = 100_000

# In the order of a file's records.
_NAMES = ('observation', 'action', 'reward', 'discount', 'next_observation',
          'next_action')


class Store(abc.ABC):
  """T transitions that can be read at any row."""

  @abc.abstractmethod
  def num_transitions(self) -> int:
    """Returns T."""

  @abc.abstractmethod
  def read(self, starts: np.ndarray, length: int) -> Columns:
    """Returns slices of consecutive rows, one after the other.

    Args:
      starts: `[R]`, each slice's first row.
      length: rows of each slice; a slice ends at row T if that is earlier.
    """

  @abc.abstractmethod
  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the observations, `[O]` each."""

  def example(self) -> Columns:
    """Returns the first transition, `[1, ...]`."""
    return self.read(np.zeros(1, int), 1)


def make_store(dataset: Union[Dataset, Store]) -> Store:
  """Returns a dataset's store: a file for blocks, memory for a whole one."""
  if isinstance(dataset, Store):
    return dataset
  if isinstance(dataset, types.Transition):
    return MemoryStore(dataset)
  return DiskStore(dataset)


def to_columns(transitions: types.Transition) -> dict[str, np.ndarray]:
  """Returns the columns `[T, ...]` of transitions, by name.

  Args:
    transitions: T transitions; `extras` is `()` or holds 'next_action'.

  Raises:
    ValueError: if T is 0, columns differ in length, or there are other extras.
  """
  extras = transitions.extras or {}
  unknown = set(extras) - {'next_action'}
  if unknown:
    raise ValueError(
        f'the dataset\'s extras hold {sorted(unknown)}; only next_action is '
        'known. Leave the others out.')
  columns = {**transitions._asdict(), **extras}
  del columns['extras']
  lengths = {name: len(column) for name, column in columns.items()}
  if len(set(lengths.values())) > 1 or not len(transitions.reward):
    raise ValueError(
        f'the columns of the dataset have the lengths {lengths}; they must be '
        'equal, and not 0.')
  return columns


def to_transition(columns: Columns) -> types.Transition:
  """Inverse of `to_columns`."""
  columns = dict(columns)
  next_action = columns.pop('next_action', None)
  extras = () if next_action is None else {'next_action': next_action}
  return types.Transition(**columns, extras=extras)


class MemoryStore(Store):
  """Transitions in this process's memory; they are not copied."""

  def __init__(self, dataset: types.Transition):
    """Takes a dataset of T transitions; raises what `to_columns` raises."""
    self._columns = to_columns(dataset)

  def num_transitions(self) -> int:
    return len(self._columns['reward'])

  def read(self, starts: np.ndarray, length: int) -> Columns:
    if len(starts) == 1:  # Spares the copy.
      rows = slice(starts[0], starts[0] + length)
      return {name: column[rows] for name, column in self._columns.items()}
    rows = (starts[:, None] + np.arange(length)).reshape(-1)
    rows = rows[rows < self.num_transitions()]
    return {name: np.take(column, rows, axis=0)
            for name, column in self._columns.items()}

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    found = moments.Moments()
    observation = self._columns['observation']
    for start in range(0, len(observation), _BLOCK):
      found.add(observation[start:start + _BLOCK])
    return found.mean, found.std


class DiskStore(Store):
  """Transitions in a temporary file; none is kept in memory.

  The file vanishes when the process ends. It is where Python's `tempfile` puts
  it; the environment variable TMPDIR moves it.
  """

  def __init__(self, blocks: Iterable[types.Transition]):
    """Writes blocks of transitions, one after the other.

    Args:
      blocks: T float32 transitions in all, see `to_columns`.

    Raises:
      ValueError: if there is no transition, or a block is malformed or unlike
        the one before it.
      OSError: if the disk is full; the message names the directory.
    """
    self._file = tempfile.TemporaryFile(prefix='acme_msg-')
    self._observation = moments.Moments()
    self._shapes: Optional[dict[str, tuple[int, ...]]] = None
    for block in blocks:
      self._append(to_columns(block))
    if self._shapes is None:
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
          f'after {self.num_transitions()} transitions of shapes '
          f'{self._shapes} came some of shapes {shapes}.')
    records = np.concatenate(
        [columns[name].reshape(len(columns[name]), -1) for name in shapes], 1)
    try:
      self._file.write(records.data)
    except OSError as error:
      raise OSError(
          error.errno, f'{error.strerror} after {self.num_transitions()} '
          f'transitions; the data is kept in {tempfile.gettempdir()}, set '
          'TMPDIR to a directory with more room') from error
    self._observation.add(columns['observation'])

  def num_transitions(self) -> int:
    return self._observation.count

  def read(self, starts: np.ndarray, length: int) -> Columns:
    sizes = np.minimum(length, self.num_transitions() - starts).tolist()
    widths = [int(np.prod(shape)) for shape in self._shapes.values()]
    records = np.empty((sum(sizes), sum(widths)), np.float32)
    row = 0
    for start, size in zip(starts.tolist(), sizes):
      part = memoryview(records[row:row + size]).cast('B')
      position = start * records[0].nbytes
      # Threads share the file, so each call gives its position; it reads less
      # than 2 GiB.
      while found := os.preadv(self._file.fileno(), [part], position):
        part, position = part[found:], position + found
      assert not part
      row += size
    parts = np.split(records, np.cumsum(widths[:-1]), axis=1)
    return {
        name: np.ascontiguousarray(part).reshape((row,) + shape)
        for (name, shape), part in zip(self._shapes.items(), parts)}

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    return self._observation.mean, self._observation.std
