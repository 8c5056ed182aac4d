"""Reads HDF5 files in the layout of D4RL.

One row per step in `observations`, `actions`, `rewards` and `terminals` (the
row's action ended the episode), and, but for some v0 files, `timeouts` (the row
was the last before the limit). Nothing else in a file is read:
`next_observations`, which some files have, is not used by D4RL's own Q-learning
form either.
"""

import os
import tempfile
from typing import NamedTuple, Optional

from acme import types
import h5py
import numpy as np

from . import d4rl_tasks
from . import rewards
from . import steps as steps_lib
from . import validation

_URL = 'http://rail.eecs.berkeley.edu/datasets/offline_rl/'
_RANKS = {'observations': 2, 'actions': 2, 'rewards': 1, 'terminals': 1}


def find(task_name: str) -> str:
  """Returns the path of a D4RL task's file.

  It is looked for in `$D4RL_DATASET_DIR`, or else `~/.d4rl/datasets`, under the
  name that D4RL gives it, so files that D4RL has downloaded are found.

  Args:
    task_name: such as 'antmaze-large-diverse-v0'.

  Raises:
    ValueError: if D4RL has no such task.
    FileNotFoundError: if the file is not there.
  """
  if task_name not in d4rl_tasks.FILES:
    raise ValueError(
        f'{task_name!r} is not a known D4RL task with a dataset; name its file '
        f'by --dataset_path, or use one of: {", ".join(d4rl_tasks.FILES)}.')
  folder = os.path.expanduser(
      os.environ.get('D4RL_DATASET_DIR') or '~/.d4rl/datasets')
  remote = d4rl_tasks.FILES[task_name]
  path = os.path.join(folder, os.path.basename(remote))
  if not os.path.isfile(path):
    raise FileNotFoundError(
        f'the dataset of {task_name} is missing: {os.path.basename(path)} is '
        f'not in {folder} (set D4RL_DATASET_DIR to search another directory). '
        f'Download it from {_URL}{remote} into that directory, or name a file '
        'that you have by --dataset_path.')
  return path


def load(
    path: str,
    task_name: str,
    reward_transform: str = 'auto',
    episode_limit: Optional[int] = None,
) -> types.Transition:
  """Reads a file as the transitions of D4RL's Q-learning form.

  Of T rows each but the last starts a transition, unless its `timeouts` is set
  (even if it is also terminal); see `steps.pair_rows`. In a file without
  `timeouts` the limit decides, see `_cut_by_limit`. The last row, having no
  successor, serves as an observation only, even if it is terminal.

  Args:
    path: an HDF5 file.
    task_name: such as 'antmaze-large-diverse-v0'. It decides the automatic
      reward transform and the episode limit.
    reward_transform: one of `rewards.NAMES`.
    episode_limit: in steps, used for files without `timeouts`; by default that
      of the task.

  Returns:
    A transition with the columns `[K, ...]`, float32, and
    `extras={'next_action': [K, A]}`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not valid, naming field, index, what was found
      and what to do; if the transform or the limit is unknown.
  """
  rewards.resolve(reward_transform, task_name)  # Refuses before reading.
  rows = _read(path, task_name, episode_limit)
  return steps_lib.pair_rows(
      rows.observation, rows.action,
      rewards.transform(rows.reward, reward_transform, task_name),
      1 - rows.terminal.astype(np.float32), rows.is_last)


def load_steps(
    path: str, task_name: str, episode_limit: Optional[int] = None,
) -> steps_lib.Steps:
  """Reads a file as steps, in the way of TFDS's own D4RL builders.

  A terminal row is followed by one more step, of zeros, that is last and
  terminal, since the file does not hold the observation in which the episode
  ended. A row cut by the limit, and the last row, are last and not terminal.
  The transitions of these steps are those of `load`, but for the masked next
  observations of terminal ones: zeros here, the next episode's first there.

  Args:
    path: an HDF5 file.
    task_name: decides the episode limit.
    episode_limit: see `load`.

  Returns:
    `[T + number of ends, ...]` steps; rewards are the file's own.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not valid.
  """
  rows = _read(path, task_name, episode_limit)
  end = np.flatnonzero(rows.terminal)
  dummy = end + 1 + np.arange(len(end))
  total = len(rows.terminal) + len(end)
  source = np.ones(total, dtype=bool)
  source[dummy] = False

  def spread(column):
    spaced = np.zeros((total,) + column.shape[1:], column.dtype)
    spaced[source] = column
    return spaced

  is_last = spread(rows.is_last)
  is_last[dummy] = True
  is_terminal = np.zeros(total, dtype=bool)
  is_terminal[dummy] = True
  return steps_lib.Steps(
      observation=spread(rows.observation),
      action=spread(rows.action),
      reward=spread(rows.reward),
      discount=spread(1 - rows.terminal.astype(np.float32)),
      is_first=np.concatenate([[True], is_last[:-1]]),
      is_last=is_last,
      is_terminal=is_terminal)


def write(steps: steps_lib.Steps, path: str):
  """Writes steps as a file: `load_steps` backwards.

  The step that follows a terminal one has no row, except at the very end of the
  file, where D4RL needs a row after the last transition. It is written under a
  temporary name beside `path` and then renamed.

  Args:
    steps: T steps.
    path: of a file that does not exist yet.

  Raises:
    FileExistsError: if something is at `path`.
    ValueError: if the steps are malformed, or a discount is neither 0 nor 1,
      which the layout cannot hold.
  """
  if os.path.lexists(path):
    raise FileExistsError(
        f'{path} exists, and nothing is overwritten; name another file, or '
        'move this one away.')
  validation.check_layout(path, steps._asdict(), steps_lib.RANKS)
  ends = np.append(steps.is_terminal[1:], False)
  terminal = (ends | (steps.discount == 0)) & ~steps.is_last
  bad = np.flatnonzero((steps.discount != 1) & ~terminal & ~steps.is_last)
  if bad.size:
    raise ValueError(
        f'the discount is {steps.discount[bad[0]]} at step {bad[0]}; D4RL\'s '
        'layout can hold 0 and 1 only.')
  keep = ~steps.is_terminal
  keep[-1] = True
  columns = {
      'observations': steps.observation, 'actions': steps.action,
      'rewards': steps.reward, 'terminals': terminal,
      'timeouts': steps.is_last}
  parent, name = os.path.split(os.path.abspath(path))
  os.makedirs(parent, exist_ok=True)
  handle, temporary = tempfile.mkstemp(prefix=f'.{name}.', dir=parent)
  os.close(handle)
  try:
    with h5py.File(temporary, 'w') as file:
      for field, column in columns.items():
        file.create_dataset(field, data=column[keep], compression='gzip')
    os.chmod(temporary, 0o644)  # mkstemp makes it private.
    os.rename(temporary, path)
  except BaseException:
    os.remove(temporary)
    raise


class _Rows(NamedTuple):
  """A file's valid rows `[T, ...]`: no transition starts in `is_last` ones."""
  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  terminal: np.ndarray  # Never where `is_last`.
  is_last: np.ndarray


def _read(path: str, task_name: str, episode_limit: Optional[int]) -> _Rows:
  """Reads and validates the columns of a file."""
  columns = _read_columns(path)
  observation, action, reward = (
      validation.to_float(path, name, columns[name])
      for name in ('observations', 'actions', 'rewards'))
  validation.check_actions(path, 'actions', action)
  validation.warn_of_constant_reward(path, 'rewards', reward)
  terminal = validation.to_flags(path, 'terminals', columns['terminals'])
  if 'timeouts' in columns:
    is_last = validation.to_flags(path, 'timeouts', columns['timeouts'])
  else:
    try:
      limit = (d4rl_tasks.episode_limit(task_name) if episode_limit is None
               else episode_limit)
    except ValueError as error:
      raise ValueError(
          f'{path}: there is no field \'timeouts\', so the episode limit '
          f'decides where episodes were cut off: {error}') from error
    if limit < 1:
      raise ValueError(f'episode_limit={limit}: it must be at least 1 step.')
    is_last = _cut_by_limit(terminal, limit)
  is_last = is_last.copy()
  is_last[-1] = True
  if is_last.all():
    raise ValueError(
        f'{path}: no transition is left of {len(is_last)} rows: each of them '
        'is marked by \'timeouts\', or is the last row. Is the field right?')
  return _Rows(observation, action, reward, terminal & ~is_last, is_last)


def _cut_by_limit(terminal: np.ndarray, limit: int) -> np.ndarray:
  """Finds the rows that the episode limit cut off.

  D4RL counts the rows since the last one that was cut off, from 0, and cuts
  where the count is limit - 1. A terminal row that is kept restarts the count
  so that the row after it counts 1, not 0. This makes D4RL (and the reference,
  which is followed here) cut one row early after a terminal.

  Args:
    terminal: `[T]` bool.
    limit: in steps.

  Returns:
    `[T]` bool.
  """
  cut = np.zeros(len(terminal), dtype=bool)
  start, count = 0, 0
  # One turn per episode; the last one has no terminal row.
  for end in [*np.flatnonzero(terminal).tolist(), len(terminal) - 1]:
    cut[start + limit - 1 - count:end + 1:limit] = True
    start, count = end + 1, 0 if cut[end] else 1
  return cut


def _read_columns(path: str) -> dict[str, np.ndarray]:
  """Reads the fields of a file, after their layout was checked."""
  if not os.path.isfile(path):
    raise FileNotFoundError(
        f'{path}: there is no such dataset file; check --dataset_path.')
  if os.path.getsize(path) == 0:
    raise ValueError(
        f'{path}: the file is empty (0 bytes); download or make it again.')
  if not h5py.is_hdf5(path):
    with open(path, 'rb') as file:
      start = file.read(16)
    raise ValueError(
        f'{path}: not an HDF5 file, it begins with {start!r}; a D4RL dataset '
        'is a .hdf5 file. Download or make it again.')
  name = None
  try:
    with h5py.File(path, 'r') as file:
      fields = {name: file.get(name) for name in _RANKS}
      if 'timeouts' in file:
        fields['timeouts'] = file['timeouts']
      missing = [
          name for name, field in fields.items()
          if not isinstance(field, h5py.Dataset)]
      if missing:
        raise ValueError(
            f'{path}: the field {missing[0]!r} is missing (a dataset at the '
            f'root); found {", ".join(file) or "nothing"}. D4RL\'s layout has '
            f'{", ".join(_RANKS)} and timeouts; rename or add it.')
      validation.check_layout(path, fields, {**_RANKS, 'timeouts': 1})
      columns = {}
      for name, field in fields.items():
        column = field[()]
        columns[name] = column if _RANKS.get(name) == 2 else column.reshape(-1)
      return columns
  except OSError as error:
    part = f' while reading the field {name!r}' if name else ''
    raise ValueError(
        f'{path}: the HDF5 file is damaged or incomplete{part}, perhaps by a '
        f'download that broke off ({error}); download or make it again.'
    ) from error
