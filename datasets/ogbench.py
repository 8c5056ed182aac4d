"""Reads OGBench's `.npz` files.

A file has one row per step in `observations`, `actions` and `terminals`. The
last is 1 in the last row of a trajectory, whose next observation was not
recorded; no trajectory terminates. Files of single-task versions also have
`rewards` and `masks`, the discounts: 0 where the task is solved, after which
the trajectory continues. The other files have no rewards. In mazes rewards can
be computed for a goal, as OGBench does: a row whose position is within 0.5
units of length of it (1 for the point mass) has reward 0 and mask 0, and the
others have reward -1 and mask 1. Source: relabel_utils.py of
https://github.com/seohongpark/ogbench.

NumPy cannot read a part of an array in an `.npz` file. A source therefore holds
the fields that it needs in memory while it is read, in the type that they are
stored in; `qpos` is reduced to its two columns of positions.
"""

import contextlib
import math
from typing import IO, Iterator, Optional, Sequence
import zipfile

import numpy as np

from . import file_checks
from . import steps as steps_lib
from . import value_checks

_LAYOUT = {
    'observations': value_checks.VECTOR, 'actions': value_checks.VECTOR,
    'terminals': value_checks.FLAG, 'rewards': value_checks.SCALAR,
    'masks': value_checks.FLAG, 'qpos': value_checks.VECTOR}


class OgbenchSource(steps_lib.Source):
  """An `.npz` file; see the module's documentation."""
  kind = 'ogbench'

  def __init__(self, path: str, goal: Optional[tuple[float, float]] = None):
    """Initialises; nothing is read.

    Args:
      path: the file.
      goal: (x, y) in units of length; rewards are computed for it instead of
        read. The position is the start of `qpos`, or of the observation if
        there is no `qpos`. A point mass has a position of two columns.
    """
    if goal is not None:
      _check_goal(goal)
    super().__init__(path)
    self._goal = goal
    self.options = {'goal': goal and list(goal)}

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class."""
    path = self.name
    fields, tolerance = self._load()
    total = len(fields['terminals'])
    watch = value_checks.Watch(path, 'observations', 'actions', 'rewards')
    is_first = True
    for start in range(0, total, num_rows):
      columns = {
          name: value_checks.convert(
              path, name, field[start:start + num_rows], _LAYOUT[name], start)
          for name, field in fields.items()}
      is_last = columns['terminals'].copy()
      is_last[-1] |= start + num_rows >= total
      if self._goal is not None:
        position = columns.get('qpos', columns['observations'])
        distance = np.linalg.norm(
            position[:, :2] - np.asarray(self._goal, np.float32), axis=-1)
        discount = (distance > tolerance).astype(np.float32)
        reward = -discount
      else:
        reward = columns['rewards']
        discount = columns.get(
            'masks', np.ones(len(reward))).astype(np.float32)
      watch.check(columns['observations'], columns['actions'], reward)
      yield steps_lib.Steps(
          columns['observations'], columns['actions'], reward, discount,
          is_first=np.append(is_first, is_last[:-1]),
          is_last=is_last,
          is_terminal=np.zeros(len(reward), bool))
      is_first = is_last[-1]
    watch.finish()

  def _load(self) -> tuple[dict[str, np.ndarray], float]:
    """Returns the fields that are needed, and how far the goal reaches."""
    path = self.name
    file_checks.check_file(path)
    with _naming_damage(path):
      archive = zipfile.ZipFile(path)
    with archive:
      members = {info.filename.removesuffix('.npy'): info
                 for info in archive.infolist()}
      claims = file_checks.Claims(path)
      fields = {
          name: _read(path, name, archive, members[name], claims)
          for name in _wanted(path, list(members), self._goal is not None)}
    value_checks.check_layout(path, fields, _LAYOUT)
    position = fields.get('qpos', fields['observations'])
    tolerance = 1. if position.shape[1] == 2 else .5
    if 'qpos' in fields:
      fields['qpos'] = position[:, :2].copy()
    return fields, tolerance


def _read(
    path: str,
    name: str,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    claims: file_checks.Claims,
) -> np.ndarray:
  """Returns a field, whose header is checked before there is memory for it."""
  with _naming_damage(path, name):
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise ValueError('it is not packed as by numpy.savez_compressed')
    with archive.open(member) as file:
      shape, dtype = _header(file)
  value_checks.check_numbers(path, name, shape, dtype)
  size = dtype.itemsize * math.prod(shape)
  claims.add(name, size)
  with _naming_damage(path, name):
    if min(shape) < 0 or size > member.file_size:
      raise ValueError(
          f'the header\'s shape {shape} needs {size:,} bytes, and there are '
          f'{member.file_size:,}')
    with archive.open(member) as file:
      return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
  """Returns shape and type in the header of an array in NumPy's format."""
  version = np.lib.format.read_magic(file)
  if version == (1, 0):
    return np.lib.format.read_array_header_1_0(file)[::2]
  if version == (2, 0):
    return np.lib.format.read_array_header_2_0(file)[::2]
  raise ValueError(f'the version {version} of NumPy\'s format has no numbers')


@contextlib.contextmanager
def _naming_damage(path: str, field: str = '') -> Iterator[None]:
  """Names file and field in errors; many types are raised for damaged files."""
  try:
    yield
  except Exception as error:
    place = f'while reading the field {field!r}: ' if field else ''
    raise ValueError(
        f'{path}: not an .npz file, or one that is damaged or incomplete '
        f'({place}{error}); download or make it again.') from error


def _wanted(path: str, present: list[str], has_goal: bool) -> list[str]:
  """Returns the names of the fields to read; raises if one is missing."""
  wanted = ['observations', 'actions', 'terminals']
  value_checks.check_present(path, wanted, present, "OGBench's layout")
  if not has_goal and 'rewards' not in present:
    raise ValueError(
        f'{path}: there is no field \'rewards\', as in OGBench\'s data for '
        'all goals. In a maze, name a goal by --dataset_goal=X,Y; else add the '
        'fields rewards and masks of one task to a copy of the file.')
  optional = ('qpos',) if has_goal else ('rewards', 'masks')
  return wanted + [name for name in optional if name in present]


def _check_goal(goal: tuple[float, float]):
  if not np.less_equal(np.abs(goal), value_checks.LARGEST).all():
    raise ValueError(
        f'goal={goal}: it must be two finite numbers of at most '
        f'{value_checks.LARGEST:g}, in units of length.')


def parse_goal(flag: Optional[Sequence[str]]) -> Optional[tuple[float, float]]:
  """Returns the goal that `--dataset_goal=X,Y` names, if any, or raises."""
  if flag is None:
    return None
  try:
    x, y = map(float, flag)
    _check_goal((x, y))
  except ValueError as error:
    raise ValueError(
        f'--dataset_goal={",".join(flag)}: it must be two finite numbers of '
        f'at most {value_checks.LARGEST:g}, such as 12,8.') from error
  return x, y
