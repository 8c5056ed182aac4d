"""Reads OGBench's `.npz` files, without unpacking more than a block at a time.

One row per step in `observations`, `actions` and `terminals`. The latter is 1
in the last row of a trajectory, whose action leads nowhere that was recorded;
no trajectory really ends. Files of single-task versions have `rewards`, and
`masks`, the discounts: 0 where the task is solved, after which the trajectory
goes on. The others have no rewards. In those of mazes they can be written for a
goal, as OGBench does: a row whose position is within 0.5 units of length (1 for
the point mass) has reward 0 and mask 0, and the others have reward -1 and mask
1. Source: relabel_utils.py of https://github.com/seohongpark/ogbench.
"""

from typing import Any, Iterator, Optional, Sequence
import zipfile
import zlib

import numpy as np

from . import episodes as episodes_lib
from . import steps as steps_lib
from . import value_checks

_RANKS = {'observations': 2, 'actions': 2, 'terminals': 1, 'rewards': 1,
          'masks': 1, 'qpos': 2}
# Bytes that are unpacked at once.
_PIECE = 2**20


class OgbenchSource(steps_lib.Source):
  """An `.npz` file; see the module."""
  kind = 'ogbench'

  def __init__(self, path: str, goal: Optional[tuple[float, float]] = None):
    """Initialises; nothing is read.

    Args:
      path: of the file.
      goal: (x, y), for which rewards are written in place of the file's, in
        units of length. The position is the start of `qpos`, or of the
        observation where a file has no `qpos`. That of the point mass has two
        columns.
    """
    self.name = path
    self._goal = goal

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class."""
    path = self.name
    try:
      with zipfile.ZipFile(path) as file:
        yield from self._blocks(file, num_rows)
    except FileNotFoundError as error:
      raise FileNotFoundError(
          f'{path}: there is no such dataset file; check --dataset.') from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
      raise ValueError(
          f'{path}: not an .npz file, or one that is damaged or incomplete '
          f'({error}); download or make it again.') from error

  def _blocks(
      self, file: zipfile.ZipFile, num_rows: int) -> Iterator[steps_lib.Steps]:
    path = self.name
    fields = _open_fields(path, file, self._goal is not None)
    total = fields['terminals'].shape[0]
    watch = value_checks.Watch(path, 'actions', 'rewards')
    is_first = True
    for start in range(0, total, num_rows):
      rows = min(num_rows, total - start)
      columns = {}
      for name, field in fields.items():
        column = field.read(rows)
        if _RANKS[name] == 1:
          column = column.reshape(-1)
        check = (value_checks.to_flags if name in ('terminals', 'masks')
                 else value_checks.to_float)
        columns[name] = check(path, name, column, start)
      is_last = columns['terminals'].copy()
      is_last[-1] |= start + rows == total
      if self._goal is not None:
        position = columns.get('qpos', columns['observations'])
        tolerance = 1. if position.shape[1] == 2 else .5
        distance = np.linalg.norm(
            position[:, :2] - np.asarray(self._goal, np.float32), axis=-1)
        discount = (distance > tolerance).astype(np.float32)
        reward = -discount
      else:
        reward = columns['rewards']
        discount = columns.get('masks', np.ones(rows)).astype(np.float32)
      watch.check(columns['actions'], reward)
      yield steps_lib.Steps(
          observation=columns['observations'],
          action=columns['actions'],
          reward=reward,
          discount=discount,
          is_first=np.append(is_first, is_last[:-1]),
          is_last=is_last,
          is_terminal=np.zeros(rows, bool))
      is_first = is_last[-1]
    watch.finish()


class _Field:
  """An array of the file, which is read from its start on."""

  def __init__(self, path: str, name: str, file: zipfile.ZipFile):
    self._place = f'{path}: field {name!r}'
    self._file: Any = file.open(f'{name}.npy')
    version = np.lib.format.read_magic(self._file)
    read_header = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                   else np.lib.format.read_array_header_2_0)
    self.shape, by_columns, self.dtype = read_header(self._file)
    self._columns = None
    if by_columns and len(self.shape) > 1:  # Such an array has no rows to read.
      self._columns = self._read(self.shape[::-1]).T

  def read(self, rows: int) -> np.ndarray:
    """Returns the next rows."""
    if self._columns is None:
      return self._read((rows,) + self.shape[1:])
    result, self._columns = self._columns[:rows], self._columns[rows:]
    return result

  def _read(self, shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty(shape, self.dtype)
    view = result.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), _PIECE):
      piece = view[start:start + _PIECE]
      if self._file.readinto(piece) < len(piece):
        raise EOFError(f'{self._place} ends too soon')
    return result


def _open_fields(
    path: str, file: zipfile.ZipFile, has_goal: bool) -> dict[str, _Field]:
  """Returns the fields that are needed, after their layout was checked."""
  present = [name[:-4] for name in file.namelist() if name.endswith('.npy')]
  wanted = ['observations', 'actions', 'terminals']
  for name in wanted:
    if name not in present:
      raise ValueError(
          f'{path}: the field {name!r} is missing; found '
          f'{", ".join(present) or "nothing"}. OGBench\'s files have '
          f'{", ".join(wanted)}.')
  if has_goal:
    wanted += [name for name in ('qpos',) if name in present]
  elif 'rewards' in present:
    wanted += [name for name in ('rewards', 'masks') if name in present]
  else:
    raise ValueError(
        f'{path}: there is no field \'rewards\', as in OGBench\'s data for '
        'all goals. In a maze, name a goal by --dataset_goal=X,Y; else add the '
        'fields rewards and masks of one task to a copy of the file.')
  fields = {name: _Field(path, name, file) for name in wanted}
  for name, field in fields.items():
    episodes_lib.check_leaf(path, name, field.shape, field.dtype)
  value_checks.check_layout(path, fields, _RANKS)
  return fields


def parse_goal(flag: Optional[Sequence[str]]) -> Optional[tuple[float, float]]:
  """Returns the goal that the flag `--dataset_goal=X,Y` names, if any.

  Raises:
    ValueError: if the flag's value is not two numbers.
  """
  if flag is None:
    return None
  try:
    x, y = map(float, flag)
  except ValueError as error:
    raise ValueError(
        f'--dataset_goal={",".join(flag)}: it must be two numbers, such as '
        '12,8.') from error
  return x, y
