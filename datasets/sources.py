"""Finds the dataset that a name or a path denotes."""

import os
import re
from typing import Optional

from . import d4rl
from . import d4rl_tasks
from . import minari_data
from . import ogbench
from . import pointmaze_generator
from . import steps as steps_lib
from . import value_checks
from .. import atomic_files
from ..environments import pointmaze as pointmaze_tasks

# Descriptions of the prefixes, for messages.
_KINDS = {
    'd4rl': 'a D4RL task or HDF5 file',
    'tfds': 'a TFDS name or directory',
    'minari': 'a Minari identifier or directory',
    'ogbench': 'an OGBench .npz file'}
VERSION = re.compile(r'\d+\.\d+\.\d+')
_TFDS_NAME = re.compile(r'[a-z]\w*(/[\w.-]+)?(:\d+\.\d+\.\d+)?')
_TFDS_FILE = 'dataset_info.json'


def find(
    dataset: str,
    task_name: str = '',
    *,
    episode_limit: Optional[int] = None,
    goal: Optional[tuple[float, float]] = None,
) -> steps_lib.Source:
  """Returns the source of a dataset; reads nothing.

  Args:
    dataset: one of the following. A prefix 'd4rl:', 'tfds:', 'minari:' or
      'ogbench:' selects the kind where a name has several meanings.
      * The path of an HDF5 file in D4RL's layout, or the name of a D4RL task
        whose file lies where D4RL puts it; see `d4rl.find`.
      * The directory of a TFDS (RLDS) dataset: that of a version, or the one
        above it, which means the highest version.
      * The name of a dataset that TFDS has prepared, such as
        'd4rl_antmaze/umaze-v0' or 'd4rl_antmaze/umaze-v0:1.1.0', below
        `$TFDS_DATA_DIR` or ~/tensorflow_datasets.
      * The identifier of a Minari dataset below `$MINARI_DATASETS_PATH` or
        ~/.minari/datasets, such as 'door-human-v1', or its directory.
      * The path of an OGBench file, '.npz'.
      * The name of an embedded task whose file was generated before.
      * The empty string: `task_name`.
    task_name: such as 'antmaze-large-diverse-v0'.
    episode_limit: in steps, for D4RL files without `timeouts`; by default that
      of the task.
    goal: (x, y) in units of length, for OGBench's mazes; see `ogbench`.

  Returns:
    A picklable source.

  Raises:
    FileNotFoundError: if there is no such dataset on this machine. Nothing is
      ever downloaded.
    ValueError: if the name means several datasets, if the dataset is of no
      known kind, or if an option does not fit the kind.
  """
  prefix, _, name = dataset.partition(':')
  if not dataset:
    prefix, name = 'd4rl', task_name
  elif prefix not in _KINDS:
    prefix, name = '', dataset
  name = os.path.expanduser(name)
  found, error = {}, None
  if not os.path.isabs(name) and not name.startswith('.'):
    for kind, path in _named(name).items():
      if path is not None and prefix in ('', kind):
        found[f'{kind}:{name}'] = _at(path)
  if dataset and os.path.lexists(name):
    try:
      found[os.path.join(os.curdir, name)] = _at(os.path.abspath(name))
    except ValueError as wrong:  # A directory may have a dataset's name.
      error = wrong
  if not found:
    raise error or _nothing(prefix, name)
  if len(set(found.values())) > 1:
    raise ValueError(
        f'--dataset={dataset!r} may mean {" or ".join(sorted(found))}; use '
        'one of these names.')
  kind, path = next(iter(found.values()))
  if prefix not in ('', kind):
    raise ValueError(
        f'--dataset={dataset!r}: {path} looks like {_KINDS[kind]}, not like '
        f'{_KINDS[prefix]}; leave out the prefix, or name another path.')
  for value, of, rule in (
      (goal, 'ogbench', 'a goal is for OGBench\'s mazes'),
      (episode_limit, 'd4rl',
       'an episode limit is for D4RL\'s files without timeouts')):
    if value is not None and kind != of:
      raise ValueError(f'{rule} only, but {path} is {_KINDS[kind]}.')
  if kind == 'd4rl':
    known = task_name or (name if name in d4rl_tasks.FILES else '')
    return d4rl.D4rlSource(path, known, episode_limit)
  if kind == 'minari':
    return minari_data.MinariSource(path)
  if kind == 'ogbench':
    return ogbench.OgbenchSource(path, goal)
  # Imported here because importing TensorFlow takes seconds.
  from . import rlds  # pylint: disable=g-import-not-at-top
  return rlds.RldsSource(path)


def tfds_root() -> str:
  """Returns the directory of TFDS's datasets."""
  return os.path.expanduser(
      os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')


def _named(name: str) -> dict[str, Optional[str]]:
  """Returns the path that a name means, by kind; None if it does not exist."""
  paths = {
      'minari': os.path.join(minari_data.root(), name),
      'tfds': os.path.join(tfds_root(), name.replace(':', os.sep))}
  if name in d4rl_tasks.FILES:
    paths['d4rl'] = d4rl.path_of(name)
  elif name in pointmaze_tasks.task_names():
    paths['d4rl'] = pointmaze_generator.dataset_path(name)
  return {kind: path if os.path.exists(path) else None
          for kind, path in paths.items()}


def _at(path: str) -> tuple[str, str]:
  """Returns the kind of the dataset at a path, and the path to read.

  Raises:
    ValueError: if it is of no known kind.
  """
  try:
    path.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
        f'{path!a}: this name is not valid UTF-8; rename it.') from error
  if atomic_files.is_partial(path):
    raise ValueError(
        f'{path} is the unfinished result of a conversion that was broken off; '
        'remove it and convert again.')
  minari_file = minari_data.file_of(path)
  if minari_file:
    return 'minari', minari_file
  if not os.path.isdir(path):
    return ('ogbench' if path.endswith('.npz') else 'd4rl'), path
  if os.path.exists(os.path.join(path, _TFDS_FILE)):
    return 'tfds', path
  try:
    below = sorted(os.listdir(path))
  except OSError as error:
    raise ValueError(
        f'{path}: this process may not list the directory ({error.strerror}); '
        'change its permissions (chmod +rx).') from error
  versions = [
      entry for entry in below if VERSION.fullmatch(entry) and
      os.path.exists(os.path.join(path, entry, _TFDS_FILE))]
  if versions:
    highest = max(versions, key=lambda v: tuple(map(int, v.split('.'))))
    return 'tfds', os.path.join(path, highest)
  minari_data.check_format(path)
  raise ValueError(
      f'{path}: this directory is not a dataset: there is no {_TFDS_FILE} '
      '(TFDS), neither here nor in a directory of a version such as 1.0.0, and '
      'no data/main_data.hdf5 (Minari). Name a dataset; here are: '
      f'{value_checks.listed(below)}.')


def _nothing(prefix: str, name: str) -> Exception:
  """Returns the error for a name that means nothing on this machine."""
  if name in pointmaze_tasks.task_names():
    return FileNotFoundError(
        f'the dataset of {name} is not at '
        f'{pointmaze_generator.dataset_path(name)}; make it by: python -m '
        f'acme_msg.datasets.pointmaze_generator {name}')
  if prefix == 'd4rl' or (not prefix and name in d4rl_tasks.FILES):
    try:
      d4rl.find(name)
    except (FileNotFoundError, ValueError) as error:
      return error
  ways = []
  if prefix in ('', 'tfds') and _TFDS_NAME.fullmatch(name):
    ways.append(
        'TFDS has not prepared it (set TFDS_DATA_DIR to look elsewhere); to '
        'download it: python -c "import tensorflow_datasets as tfds; '
        f'tfds.builder({name!r}).download_and_prepare()"')
  if prefix in ('', 'minari') and re.search(r'-v\d+$', name):
    ways.append(
        f'it is not in {minari_data.root()} (set MINARI_DATASETS_PATH '
        f'to look elsewhere); to download it: minari download {name}')
  meant = _KINDS[prefix] if prefix else ', '.join(_KINDS.values())
  return FileNotFoundError(
      f'--dataset={name!r} is nothing on this machine: neither a path nor the '
      f'name of a dataset (looked for: {meant}). ' + '. '.join(ways))
