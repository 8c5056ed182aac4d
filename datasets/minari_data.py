"""Reads the HDF5 files of Minari's datasets; Minari itself is not needed.

A dataset is a directory, named by its identifier, that contains
`data/main_data.hdf5`: one group per episode, with L + 1 observations, including
the final one, and L actions, rewards, terminations and truncations. This is the
layout of Minari 0.4 and later. Since 0.5 the number of episodes stands in
`metadata.json` beside the file, and datasets may have other formats.
"""

import os
from typing import Any, Iterator

import h5py
import numpy as np

from . import episodes as episodes_lib
from . import file_checks
from . import hdf5
from . import steps as steps_lib
from . import value_checks

# Bytes. A group or field has at least 200 in a file, but its hard links may
# lead to it again and again.
_LEAST_CLAIM = 2**16
_FILE, _DESCRIPTION = 'main_data.hdf5', 'metadata.json'
_NAMES = {
    **episodes_lib.NAMES, 'observation': 'observations', 'action': 'actions',
    'reward': 'rewards', 'is_terminal': 'terminations'}


def root() -> str:
  """Returns the directory of Minari's datasets."""
  return os.path.expanduser(
      os.environ.get('MINARI_DATASETS_PATH') or '~/.minari/datasets')


def file_of(path: str) -> str | None:
  """Returns the file of the dataset in a directory, or None."""
  for name in (os.path.join('data', _FILE), _FILE):
    if os.path.isfile(os.path.join(path, name)):
      return os.path.join(path, name)
  return path if os.path.isfile(path) and path.endswith(_FILE) else None


def check_format(path: str) -> None:
  """Raises ValueError if a directory is a dataset in a format unlike HDF5."""
  for folder in (os.path.join(path, 'data'), path):
    file = os.path.join(folder, _DESCRIPTION)
    if os.path.exists(file):
      stored = file_checks.read_json(file).get('data_format', 'hdf5')
      if stored != 'hdf5':
        raise ValueError(
            f'{path}: the format {stored!r} of Minari is not supported, HDF5 '
            'is. Make the dataset again with Minari and data_format=\'hdf5\', '
            'as in datasets/README.md.')


class MinariSource(steps_lib.Source):
  """A file `main_data.hdf5`; spaces are flattened as by `episodes.leaves`."""
  kind = 'minari'

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class. Blocks consist of whole episodes."""
    return episodes_lib.blocks(self.name, self._episodes(), num_rows, _NAMES)

  def _episodes(self) -> Iterator[episodes_lib.Episode]:
    path = self.name
    with hdf5.open_file(path) as file:
      total = _total_episodes(path, file)
      claims = file_checks.Claims(path)
      for index in range(total):
        place = f'{path}: episode {index}'
        group = hdf5.member(path, file, f'episode_{index}')
        if not isinstance(group, h5py.Group):
          raise ValueError(
              f'{place}: there is no group \'episode_{index}\', though the '
              f'attribute total_episodes is {total}; download or make the file '
              'again.')
        episode = {}
        for name in _NAMES.values():
          item = hdf5.member(place, group, name)
          if item is not None:
            episode[name] = _read(place, name, item, claims, [])
        yield episodes_lib.to_episode(
            place, episode, terminated='terminations')


def _total_episodes(path: str, file: h5py.File) -> int:
  """Returns the number of episodes that a file should have."""
  total = hdf5.attribute(file, 'total_episodes')
  description = os.path.join(os.path.dirname(path), _DESCRIPTION)
  if total is None and os.path.exists(description):
    total = file_checks.read_json(description).get('total_episodes')
  found = sum(name.startswith('episode_') for name in hdf5.names(file))
  if not isinstance(total, (int, np.integer)) or not 1 <= total <= found:
    raise ValueError(
        f'{path}: not a whole Minari dataset: total_episodes={total!r}, and '
        f'{found} groups are named episode_0, ...; download or make it again.')
  return int(total)


def _read(
    place: str,
    name: str,
    item: h5py.Group | h5py.Dataset,
    claims: file_checks.Claims,
    above: list[h5py.Group],
) -> Any:
  """Returns the arrays of a field, nested as its groups."""
  claims.add(name, _LEAST_CLAIM)
  if isinstance(item, h5py.Group):
    if item in above:
      raise ValueError(
          f'{place}: field {name!r} contains itself (a loop of links); make '
          'the file again.')
    tree = {}
    for key in hdf5.names(item):
      inner = f'{name}/{key}'
      member = hdf5.member(place, item, key, inner)
      if member is None:
        raise OSError(f'field {inner!r} is listed, but cannot be opened')
      tree[key] = _read(place, inner, member, claims, [*above, item])
    return tree
  value_checks.check_numbers(place, name, item.shape, item.dtype)
  claims.add(name, hdf5.size(item))
  return hdf5.read(item)
