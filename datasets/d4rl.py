"""Reads HDF5 files in the layout of D4RL.

A file has one row per step in `observations`, `actions`, `rewards`, `terminals`
(the row's action ended the episode) and, except in some v0 files, `timeouts`
(the row was the last before the limit). No other field is read; D4RL's own
`qlearning_dataset` does not use `next_observations` either.

As in `qlearning_dataset`, each of the T rows starts a transition except the
last row and rows with `timeouts`, even if these are also terminal. In a file
without `timeouts` the limit decides, see `_cut_by_limit`. The last row has no
successor and is only an observation, even if it is terminal. docs/msg.md 8.1.
"""

import itertools
import os
from typing import Iterable, Iterator, Optional

import h5py
import numpy as np

from . import d4rl_tasks
from . import hdf5
from . import steps as steps_lib
from . import value_checks
from .. import atomic_files

_URL = 'http://rail.eecs.berkeley.edu/datasets/offline_rl/'
# Rank of each field: 2 for vectors, 1 for scalars. `timeouts` may be missing.
_RANKS = {'observations': 2, 'actions': 2, 'rewards': 1, 'terminals': 1,
          'timeouts': 1}
# Bytes per chunk; must fit in h5py's chunk cache.
_CHUNK_SIZE = 2**19
_FLOATS = ('observations', 'actions', 'rewards')


def path_of(task_name: str) -> str:
  """Returns the path of the file of a task in `d4rl_tasks.FILES`."""
  folder = os.path.expanduser(
      os.environ.get('D4RL_DATASET_DIR') or '~/.d4rl/datasets')
  return os.path.join(folder, os.path.basename(d4rl_tasks.FILES[task_name]))


def find(task_name: str) -> str:
  """Returns the path of a D4RL task's file.

  The file is searched in `$D4RL_DATASET_DIR`, by default `~/.d4rl/datasets`,
  under the name that D4RL gives it when it downloads the file.

  Args:
    task_name: such as 'antmaze-large-diverse-v0'.

  Raises:
    ValueError: if D4RL has no such task.
    FileNotFoundError: if the file is not there.
  """
  if task_name not in d4rl_tasks.FILES:
    raise ValueError(
        f'{task_name!r} is not a known D4RL task with a dataset; name its file '
        f'by --dataset, or use one of: {", ".join(d4rl_tasks.FILES)}.')
  path = path_of(task_name)
  if not os.path.isfile(path):
    folder, name = os.path.split(path)
    raise FileNotFoundError(
        f'the dataset of {task_name} is missing: {name} is not in {folder} '
        '(set D4RL_DATASET_DIR to search another directory). Download it from '
        f'{_URL}{d4rl_tasks.FILES[task_name]} into that directory, or name a '
        'file that you have by --dataset.')
  return path


class D4rlSource(steps_lib.Source):
  """An HDF5 file as steps, in the convention of TFDS's D4RL builders.

  The file does not hold the observation in which an episode ended, so that a
  terminal row is followed by a step of zeros that is last and terminal. A row
  that was cut by the limit, and the last row, are last and not terminal.
  """
  kind = 'd4rl'

  def __init__(
      self,
      path: str,
      task_name: str = '',
      episode_limit: Optional[int] = None,
  ):
    """Initialises; nothing is read.

    Args:
      path: an HDF5 file.
      task_name: such as 'antmaze-large-diverse-v0'; it decides the default of
        `episode_limit`.
      episode_limit: in steps, for files without `timeouts`.

    Raises:
      ValueError: if the episode limit is not positive.
    """
    if episode_limit is not None and episode_limit < 1:
      raise ValueError(
          f'episode_limit={episode_limit}: it must be at least 1 step.')
    self.name = path
    self._task_name = task_name
    self._episode_limit = episode_limit

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class. Blocks end at boundaries of the file's chunks."""
    path = self.name
    with hdf5.open_file(path) as file:
      fields = _fields(path, file)
      total = len(fields['rewards'])
      chunk = (fields['observations'].chunks or (1,))[0]
      num_rows = -(-num_rows // chunk) * chunk
      limit = None if 'timeouts' in fields else self._limit()
      watch = value_checks.Watch(path, 'actions', 'rewards')
      count, is_first, empty = 0, True, True
      for start in range(0, total, num_rows):
        columns = {}
        for name, field in fields.items():
          column = hdf5.read(field, start, min(start + num_rows, total))
          if _RANKS[name] == 1:
            column = column.reshape(-1)
          check = (value_checks.to_float if name in _FLOATS
                   else value_checks.to_flags)
          columns[name] = check(path, name, column, start)
        watch.check(columns['actions'], columns['rewards'])
        if limit is None:
          is_last = columns['timeouts'].copy()
        else:
          is_last, count = _cut_by_limit(columns['terminals'], limit, count)
        if start + num_rows >= total:
          is_last[-1] = True
        empty &= bool(is_last.all())
        steps = _with_dummies(
            columns['observations'], columns['actions'], columns['rewards'],
            columns['terminals'] & ~is_last, is_last, is_first)
        is_first = steps.is_last[-1]
        yield steps
    if empty:
      raise ValueError(
          f'{path}: no transition is left of {total} rows: each of them has '
          '\'timeouts\' set, or is the last row. Is the field right?')
    watch.finish()

  def _limit(self) -> int:
    if self._episode_limit is not None:
      return self._episode_limit
    try:
      return d4rl_tasks.episode_limit(self._task_name)
    except ValueError as error:
      raise ValueError(
          f'{self.name}: there is no field \'timeouts\', so the episode limit '
          f'decides where episodes were cut off: {error}') from error


def write(blocks: Iterable[steps_lib.Steps], path: str):
  """Writes steps as a file, the inverse of `D4rlSource`.

  The step after the end of an episode gets no row, except at the end of the
  file, where D4RL needs a row after the last transition. The file appears only
  when it is complete, see `atomic_files.create`.

  Args:
    blocks: consecutive steps.
    path: a file that does not exist.

  Raises:
    FileExistsError: if `path` exists.
    ValueError: if the steps are malformed, or a discount is neither 0 nor 1.
  """
  with atomic_files.create(path, directory=False) as temporary:
    with h5py.File(temporary, 'w') as file:
      number, last = 0, None
      for steps in itertools.chain(blocks, [None]):
        if steps is not None:
          value_checks.check_layout(path, steps._asdict(), steps_lib.RANKS)
          if last is not None:
            steps = steps_lib.concatenate([last, steps])
          # The next block tells whether the last step ended its episode.
          rows = slice(0, len(steps.reward) - 1)
          last = steps.rows(slice(-1, None))
        else:
          steps, rows = last, slice(0, 1)
        _append(path, file, steps, rows, number)
        number += rows.stop


def _append(
    path: str, file: h5py.File, steps: steps_lib.Steps, rows: slice,
    number: int):
  """Appends some rows of steps; the first step is number `number` of all."""
  ends = np.append(steps.is_terminal[1:], False)
  terminal = (ends | (steps.discount == 0)) & ~steps.is_last
  bad = np.flatnonzero(
      ((steps.discount != 1) & ~terminal & ~steps.is_last)[rows])
  if bad.size:
    raise ValueError(
        f'the discount is {steps.discount[bad[0]]} at step {number + bad[0]}; '
        'D4RL\'s layout can hold 0 and 1 only.')
  keep = ~steps.is_terminal[rows]
  if len(steps.reward) == 1:  # The last step of the dataset.
    keep[:] = True
  for field, column in {
      'observations': steps.observation, 'actions': steps.action,
      'rewards': steps.reward, 'terminals': terminal,
      'timeouts': steps.is_last}.items():
    column = column[rows][keep]
    if field not in file:
      file.create_dataset(
          field, shape=(0,) + column.shape[1:], dtype=column.dtype,
          maxshape=(None,) + column.shape[1:], compression='gzip',
          chunks=(_rows_per_chunk(column),) + column.shape[1:])
    size = len(file[field])
    file[field].resize(size + len(column), axis=0)
    file[field][size:] = column


def _rows_per_chunk(column: np.ndarray) -> int:
  return max(1, _CHUNK_SIZE // (
      column.itemsize * int(np.prod(column.shape[1:]))))


def _with_dummies(
    observation: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    terminal: np.ndarray,
    is_last: np.ndarray,
    is_first: bool,
) -> steps_lib.Steps:
  """Inserts a last step of zeros after each terminal row.

  Args:
    observation: `[T, O]` float32.
    action: `[T, A]` float32.
    reward: `[T]` float32.
    terminal: `[T]` bool; excludes `is_last`.
    is_last: `[T]` bool.
    is_first: whether an episode begins in the first row.

  Returns:
    `[T + number of ends, ...]` steps.
  """
  after = np.flatnonzero(terminal) + 1

  def insert(column: np.ndarray, value: float) -> np.ndarray:
    return np.insert(column, after, value, axis=0) if len(after) else column

  is_last = insert(is_last, True)
  return steps_lib.Steps(
      observation=insert(observation, 0),
      action=insert(action, 0),
      reward=insert(reward, 0),
      discount=insert(1 - terminal.astype(np.float32), 0),
      is_first=np.append(is_first, is_last[:-1]),
      is_last=is_last,
      is_terminal=insert(np.zeros(len(terminal), bool), True))


def _cut_by_limit(
    terminal: np.ndarray, limit: int, count: int) -> tuple[np.ndarray, int]:
  """Finds the rows that the episode limit cut off.

  D4RL counts rows from 0 since the last cut and cuts where the count is
  limit - 1. After a terminal row that is not cut, the count restarts at 1, not
  0. D4RL and the reference implementation, which this function follows,
  therefore cut one row early after a terminal row.

  Args:
    terminal: `[T]` bool.
    limit: in steps.
    count: the count of the first row.

  Returns:
    `[T]` bool, and the count of the row after the last one.
  """
  cut = np.zeros(len(terminal), dtype=bool)
  start = 0
  for end in np.flatnonzero(terminal).tolist():  # Once per episode.
    cut[start + limit - 1 - count:end + 1:limit] = True
    start, count = end + 1, 0 if cut[end] else 1
  first = start + limit - 1 - count
  cut[first::limit] = True
  if first < len(cut):
    count = (len(cut) - 1 - first) % limit
  else:
    count += len(cut) - start
  return cut, count


def _fields(path: str, file: h5py.File) -> dict[str, h5py.Dataset]:
  """Returns the fields of a file after checking their layout."""
  fields = {name: file.get(name) for name in _RANKS
            if name != 'timeouts' or name in file}
  missing = [name for name, field in fields.items()
             if not isinstance(field, h5py.Dataset)]
  if missing:
    raise ValueError(
        f'{path}: the field {missing[0]!r} is missing (a dataset at the root); '
        f'found {", ".join(file) or "nothing"}. D4RL\'s layout has '
        f'{", ".join(_RANKS)}; rename or add it.')
  value_checks.check_layout(path, fields, _RANKS)
  return fields
