"""Stores of transitions: in memory, or in a temporary file.

Columns are named as in `acme.types.Transition`; 'next_action', which a
transition holds in its `extras`, is one of them.
"""

import abc
import os
import tempfile
from typing import Any, Iterable, Mapping, Union

from acme import types
import numpy as np

from .. import moments

# A whole dataset, or one in blocks of transitions, which need not fit memory.
Dataset = Union[types.Transition, Iterable[types.Transition]]
Columns = Mapping[str, np.ndarray]

# Rows that are summed up at once.
_BLOCK = 100_000


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

  def example(self) -> Columns:
    """Returns the first transition, `[1, ...]`."""
    return self.read(np.zeros(1, int), 1)

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the observations, `[O]` each."""
    found = moments.Moments()
    for start in range(0, self.num_transitions(), _BLOCK):
      found.add(self.read(np.array([start]), _BLOCK)['observation'])
    return found.mean, found.std


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
    """Takes T transitions; raises what `to_columns` raises."""
    self._columns = to_columns(dataset)

  def num_transitions(self) -> int:
    return len(self._columns['reward'])

  def read(self, starts: np.ndarray, length: int) -> Columns:
    if len(starts) == 1:  # A view.
      rows = slice(starts[0], starts[0] + length)
      return {name: column[rows] for name, column in self._columns.items()}
    rows = (starts[:, None] + np.arange(length)).reshape(-1)
    rows = rows[rows < self.num_transitions()]
    return {name: np.take(column, rows, axis=0)
            for name, column in self._columns.items()}


class DiskStore(Store):
  """Transitions in a temporary file; none is kept in memory.

  The file vanishes when the process ends. It is where Python's `tempfile` puts
  it; the environment variable TMPDIR moves it.
  """

  def __init__(self, blocks: Iterable[types.Transition]):
    """Writes blocks of transitions, T in all; see `to_columns`.

    Raises:
      ValueError: if there is no transition, or a block is malformed or unlike
        the one before it.
      OSError: if the disk is full; the message names the directory.
    """
    self._file = tempfile.TemporaryFile(prefix='acme_msg-')
    self._num_transitions = 0
    self._record: Any = None  # The data type of a transition.
    for block in blocks:
      self._append(to_columns(block))
    if not self._num_transitions:
      raise ValueError('the dataset has no transition.')

  def _append(self, columns: Columns):
    record = np.dtype([(name, column.dtype, column.shape[1:])
                       for name, column in columns.items()])
    if self._record is not None and self._record != record:
      raise ValueError(
          f'after {self._num_transitions} transitions of {self._record} came '
          f'some of {record}.')
    self._record = record
    records = np.empty(len(columns['reward']), record)
    for name, column in columns.items():
      records[name] = column
    try:
      self._file.write(records.data)
      self._file.flush()
    except OSError as error:
      raise OSError(
          error.errno, f'{error.strerror} after {self._num_transitions} '
          'transitions; TMPDIR may name a directory with more room',
          tempfile.gettempdir()) from error
    self._num_transitions += len(records)

  def num_transitions(self) -> int:
    return self._num_transitions

  def read(self, starts: np.ndarray, length: int) -> Columns:
    sizes = np.minimum(length, self._num_transitions - starts).tolist()
    records = np.empty(sum(sizes), self._record)
    rest, width = records.view(np.uint8).data, self._record.itemsize
    for start, size in zip(starts.tolist(), sizes):
      position, stop = start * width, (start + size) * width
      # Threads share the file, so each call gives its position; it reads less
      # than 2 GiB.
      while position < stop:
        found = os.preadv(
            self._file.fileno(), [rest[:stop - position]], position)
        rest, position = rest[found:], position + found
    return {name: np.ascontiguousarray(records[name])
            for name in self._record.names}
