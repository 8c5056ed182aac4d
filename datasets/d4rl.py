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
from . import file_checks
from . import hdf5
from . import steps as steps_lib
from . import value_checks
from .. import atomic_files

_URL = 'http://rail.eecs.berkeley.edu/datasets/offline_rl/'
# `timeouts` may be missing.
_LAYOUT = {
    'observations': value_checks.VECTOR, 'actions': value_checks.VECTOR,
    'rewards': value_checks.SCALAR, 'terminals': value_checks.FLAG,
    'timeouts': value_checks.FLAG}
# Bytes per chunk; must fit in h5py's chunk cache.
_CHUNK_SIZE = 2**19


def path_of(task_name: str) -> str:
  """Returns the path of the file of a task in `d4rl_tasks.FILES`."""
  folder = os.path.expanduser(
      os.environ.get('D4RL_DATASET_DIR') or '~/.d4rl/datasets')
  return os.path.join(folder, os.path.basename(d4rl_tasks.FILES[task_name]))


def find(task_name: str) -> str:
  """Returns the path of a D4RL task's file.

  The file is searched in `$D4RL_DATASET_DIR`, by default `~/.d4rl/datasets`,
  under the name that D4RL gives it when it downloads the file.

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

  def __init__(self, path: str, task_name: str = '',
               episode_limit: Optional[int] = None):
    """Initialises; nothing is read.

    Args:
      path: an HDF5 file.
      task_name: it decides the default of `episode_limit`.
      episode_limit: in steps, for files without `timeouts`; at least 1.
    """
    if episode_limit is not None and episode_limit < 1:
      raise ValueError(
          f'episode_limit={episode_limit}: it must be at least 1 step.')
    super().__init__(path)
    self._task_name = task_name
    self._episode_limit = episode_limit
    self.options = {'episode_limit': episode_limit}

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class. Blocks end at boundaries of the file's chunks."""
    path = self.name
    with hdf5.open_file(path) as file:
      fields = _fields(path, file)
      total = len(fields['rewards'])
      chunk = (fields['observations'].chunks or (1,))[0]
      num_rows = -(-num_rows // chunk) * chunk
      limit = None if 'timeouts' in fields else self._limit()
      watch = value_checks.Watch(path, 'observations', 'actions', 'rewards')
      count, is_first, empty = 0, True, True
      for start in range(0, total, num_rows):
        stop = min(start + num_rows, total)
        columns = {
            name: value_checks.convert(
                path, name, hdf5.read(field, start, stop), _LAYOUT[name], start)
            for name, field in fields.items()}
        watch.check(*(
            columns[name] for name in ('observations', 'actions', 'rewards')))
        if limit is None:
          is_last = columns['timeouts'].copy()
        else:
          is_last, count = _cut_by_limit(columns['terminals'], limit, count)
        is_last[-1] |= stop == total
        empty &= bool(is_last.all())
        terminal = columns['terminals'] & ~is_last
        ends = terminal | is_last
        yield _with_dummies(steps_lib.Steps(
            columns['observations'], columns['actions'], columns['rewards'],
            discount=1 - terminal.astype(np.float32),
            is_first=np.append(is_first, ends[:-1]),
            is_last=is_last,
            is_terminal=np.zeros(len(terminal), bool)))
        is_first = ends[-1]
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
    OSError: if the file cannot be written.
    ValueError: if the steps are malformed, or a discount is neither 0 nor 1.
  """
  with (atomic_files.create(path, directory=False) as temporary,
        hdf5.new_file(path, temporary) as (file, check)):
    number, parts = 0, []
    for steps in itertools.chain(blocks, [None]):
      if steps is not None:
        value_checks.check_layout(path, steps._asdict(), steps_lib.LAYOUT)
        parts.append(steps)
      joined = steps_lib.concatenate(parts)
      # The next block tells whether the last step ended its episode.
      rows = len(joined.reward) - (steps is not None)
      _append(file, joined, rows, number)
      check()
      number += rows
      parts = [joined.rows(slice(-1, None))]


def _append(file: h5py.File, steps: steps_lib.Steps, rows: int, number: int):
  """Appends the first `rows` steps, the first of which is number `number`."""
  ends = np.append(steps.is_terminal[1:], False)
  terminal = (ends | (steps.discount == 0)) & ~steps.is_last
  bad = np.flatnonzero(
      ((steps.discount != 1) & ~terminal & ~steps.is_last)[:rows])
  if bad.size:
    raise ValueError(
        f'the discount is {steps.discount[bad[0]]} at step {number + bad[0]}; '
        'D4RL\'s layout can hold 0 and 1 only.')
  keep = ~steps.is_terminal[:rows]
  if len(steps.reward) == 1:  # The last step of the dataset.
    keep[:] = True
  for field, column in {
      'observations': steps.observation, 'actions': steps.action,
      'rewards': steps.reward, 'terminals': terminal,
      'timeouts': steps.is_last}.items():
    column = column[:rows][keep]
    shape = column.shape[1:]
    if field not in file:
      row_size = column.itemsize * int(np.prod(shape))
      file.create_dataset(
          field, shape=(0, *shape), dtype=column.dtype,
          maxshape=(None, *shape), compression='gzip',
          chunks=(max(1, _CHUNK_SIZE // row_size), *shape))
    size = len(file[field])
    file[field].resize(size + len(column), axis=0)
    file[field][size:] = column


def _with_dummies(steps: steps_lib.Steps) -> steps_lib.Steps:
  """Inserts a step of zeros, last and terminal, after each discount 0."""
  after = np.flatnonzero(steps.discount == 0) + 1
  if not len(after):
    return steps
  return steps_lib.Steps(*(
      np.insert(column, after, name in ('is_last', 'is_terminal'), axis=0)
      for name, column in steps._asdict().items()))


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
  fields = {}
  for name in _LAYOUT:
    field = hdf5.member(path, file, name)
    if isinstance(field, h5py.Group):
      raise ValueError(
          f'{path}: field {name!r} is a group, not a dataset at the root as in '
          'D4RL\'s layout; make a dataset of it.')
    if field is not None:
      fields[name] = field
  value_checks.check_present(
      path, [name for name in _LAYOUT if name != 'timeouts'],
      [name for name in hdf5.names(file) if name in fields
       or name not in _LAYOUT], "D4RL's layout")
  value_checks.check_layout(path, fields, _LAYOUT)
  claims = file_checks.Claims(path)
  for name, field in fields.items():
    claims.add(name, hdf5.size(field))
  return fields
