"""Writes episodes in each format with its own library."""

import functools

from acme_msg import datasets
from acme_msg.datasets import rlds
import gymnasium
import h5py
import minari
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def final(column, value=None):
  """Appends the last row once more, or a value."""
  return np.append(column, column[-1:] if value is None else [value], axis=0)


def write_hdf5(tmp_path, made, **options):
  columns = _rows(made)
  columns['observations'] = columns['observations'].astype(np.float64)
  path = str(tmp_path / 'rows.hdf5')
  with h5py.File(path, 'w') as file:
    for name, column in columns.items():
      file.create_dataset(name, data=column, **options)
  return path


def write_rlds(tmp_path, made):
  path = str(tmp_path / 'rlds')
  rlds.write(datasets.from_episodes(made).blocks(), path)
  return path


def _features(value):
  if isinstance(value, dict):
    return {name: _features(member) for name, member in value.items()}
  return tfds.features.Tensor(shape=value.shape[1:], dtype=value.dtype)


class Mine(tfds.core.GeneratorBasedBuilder):
  """Writes episodes as the builders of RLDS datasets in TFDS."""
  VERSION = tfds.core.Version('1.2.0')
  made = ()

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, disable_shuffling=True,
        features=tfds.features.FeaturesDict({
            'steps': tfds.features.Dataset({
                'observation': _features(self.made[0]['observations']),
                'action': tfds.features.Tensor(shape=(2,), dtype=np.float32),
                **dict.fromkeys(('reward', 'discount'), tf.float32),
                **dict.fromkeys(
                    ('is_first', 'is_last', 'is_terminal'), tf.bool),
                'rgb': tfds.features.Image(shape=(4, 4, 3))}),
            'seed': tf.int32}))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for index, episode in enumerate(self.made):
      actions, rewards = episode['actions'], episode['rewards']
      columns = {
          'action': final(actions), 'reward': final(rewards, 0),
          'discount': np.ones(len(rewards) + 1),
          'is_first': np.arange(len(rewards) + 1) == 0,
          'is_last': np.arange(len(rewards) + 1) == len(rewards),
          'is_terminal': (np.arange(len(rewards) + 1) == len(rewards))
                         & episode['terminated'],
          'rgb': np.zeros((len(rewards) + 1, 4, 4, 3), np.uint8)}
      yield index, {'seed': index, 'steps': [{
          'observation': tf.nest.map_structure(
              lambda x, i=i: x[i], episode['observations']),
          **{name: column[i] for name, column in columns.items()},
      } for i in range(len(rewards) + 1)]}


def write_tfds(tmp_path, made):
  Mine.made = made
  builder = Mine(data_dir=str(tmp_path / 'tfds'))
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False))
  return 'mine'


def _space(value):
  if isinstance(value, dict):
    return gymnasium.spaces.Dict(
        {name: _space(member) for name, member in value.items()})
  return gymnasium.spaces.Box(-np.inf, np.inf, value.shape[1:], value.dtype)


def write_minari(tmp_path, made):
  del tmp_path
  buffers = []
  for episode in made:
    ends = np.arange(len(episode['rewards'])) == len(episode['rewards']) - 1
    buffers.append({
        'observations': episode['observations'],
        'actions': episode['actions'], 'rewards': episode['rewards'],
        'terminations': ends & episode['terminated'],
        'truncations': ends & (not episode['terminated'])})
  minari.create_dataset_from_buffers(
      'mine-test-v0', buffers,
      observation_space=_space(made[0]['observations']),
      action_space=gymnasium.spaces.Box(-1, 1, (2,), np.float32),
      minari_version='>=0.4', algorithm_name='none', author='nobody',
      author_email='nobody@example.com', code_permalink='none')
  return 'mine-test-v0'


def write_ogbench(tmp_path, made):
  ends = [final(np.zeros(len(e['rewards']), bool), True) for e in made]
  columns = {
      'observations': [e['observations'] for e in made],
      'actions': [final(e['actions']) for e in made],
      'rewards': [final(e['rewards'], 0) for e in made],
      'masks': [1. - np.append(end[1:] & e['terminated'], False)
                for e, end in zip(made, ends)],
      'terminals': ends}
  path = tmp_path / 'mine.npz'
  np.savez_compressed(
      path, **{name: np.concatenate(c) for name, c in columns.items()})
  return str(path)

def _rows(made):
  """Returns D4RL's rows, with the final one of truncated episodes."""
  columns = {name: [] for name in (
      'observations', 'actions', 'rewards', 'terminals', 'timeouts')}
  for episode in made:
    length = len(episode['rewards'])
    for i in range(length + (not episode['terminated'])):
      columns['observations'].append(episode['observations'][i])
      columns['actions'].append(episode['actions'][min(i, length - 1)])
      columns['rewards'].append(episode['rewards'][i] if i < length else 0)
      columns['terminals'].append(
          bool(episode['terminated']) and i == length - 1)
      columns['timeouts'].append(i == length)
  return {name: np.array(column) for name, column in columns.items()}


# By kind: functions of a folder and episodes that return a dataset's name.
WRITERS = {
    'd4rl': write_hdf5,
    'd4rl gzip': functools.partial(
        write_hdf5, compression='gzip', shuffle=True, chunks=True),
    'rlds': write_rlds,
    'tfds': write_tfds,
    'minari': write_minari,
    'ogbench': write_ogbench}
