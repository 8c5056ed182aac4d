"""Reads the HDF5 files of Minari's datasets; Minari itself is not needed.

A dataset is a directory, named by its identifier, that contains
`data/main_data.hdf5`: one group per episode, with L + 1 observations, including
the final one, and L actions, rewards, terminations and truncations. This is the
layout of Minari 0.4 and later.
"""

import os
from typing import Any, Iterator

import h5py

from . import episodes as episodes_lib
from . import hdf5
from . import steps as steps_lib

_FILE = 'main_data.hdf5'
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


class MinariSource(steps_lib.Source):
  """A file `main_data.hdf5`; spaces are flattened as by `episodes.leaves`."""
  kind = 'minari'

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class. Blocks consist of whole episodes."""
    return episodes_lib.blocks(self.name, self._episodes(), num_rows, _NAMES)

  def _episodes(self) -> Iterator[episodes_lib.Episode]:
    path = self.name
    with hdf5.open_file(path) as file:
      total = int(file.attrs.get('total_episodes', 0))
      if not total or f'episode_{total - 1}' not in file:
        found = sum(name.startswith('episode_') for name in file)
        raise ValueError(
            f'{path}: not a whole Minari dataset: total_episodes={total}, and '
            f'{found} groups are named episode_0, ...; download or make it '
            'again.')
      for index in range(total):
        group = file[f'episode_{index}']
        yield episodes_lib.to_episode(
            f'{path}: episode {index}',
            {name: _read(group[name]) for name in _NAMES.values()
             if name in group},
            terminated='terminations')


def _read(item: h5py.Group | h5py.Dataset) -> Any:
  if isinstance(item, h5py.Group):
    return {name: _read(member) for name, member in item.items()}
  return hdf5.read(item)
