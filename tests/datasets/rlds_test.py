"""Tests of RLDS datasets on disk; TFDS and RLDS themselves are witnesses."""

import os
import subprocess
import sys

from acme_msg.datasets import convert
from acme_msg.datasets import d4rl
from acme_msg.datasets import rlds
from acme_msg.datasets import steps as steps_lib
import h5py
import numpy as np
import pytest
from rlds import transformations
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils
from tensorflow_datasets.d4rl import d4rl_antmaze

_TASK = 'hopper-medium-v0'


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  def refuse(path):
    raise AssertionError(f'TFDS looked for {path} on the network')
  monkeypatch.setattr(gcs_utils, 'exists', refuse)


@pytest.fixture
def steps(path):
  return d4rl.load_steps(path, _TASK)


@pytest.fixture
def directory(tmp_path, steps):
  rlds.write(steps, str(tmp_path / 'rlds'))
  return str(tmp_path / 'rlds')


def _assert_same_steps(a, b):
  for name, x, y in zip(steps_lib.Steps._fields, a, b):
    np.testing.assert_array_equal(x, y, name)
    assert x.dtype == y.dtype


def test_written_steps_are_read_again(directory, steps):
  _assert_same_steps(rlds.load_steps(directory), steps)


def test_many_files_keep_the_order(tmp_path, monkeypatch):
  monkeypatch.setattr(rlds, '_STEPS_PER_FILE', 10)
  size = 64
  is_first = np.arange(size) % 8 == 0
  steps = steps_lib.Steps(
      observation=np.arange(size, dtype=np.float32)[:, None],
      action=np.zeros((size, 2), np.float32),
      reward=np.arange(size, dtype=np.float32),
      discount=np.ones(size, np.float32), is_first=is_first,
      is_last=np.roll(is_first, -1), is_terminal=np.zeros(size, bool))
  rlds.write(steps, str(tmp_path / 'rlds'))

  files = [f for f in os.listdir(tmp_path / 'rlds') if 'tfrecord' in f]
  assert len(files) == 7
  _assert_same_steps(rlds.load_steps(str(tmp_path / 'rlds')), steps)


def test_tfds_reads_it_without_our_code(directory, steps):
  builder = tfds.builder_from_directory(directory)
  assert builder.info.splits['train'].num_examples == 4
  read = [[step for step in episode['steps'].as_numpy_iterator()]
          for episode in builder.as_dataset(split='train')]
  assert [len(episode) for episode in read] == [2, 3, 3, 2]
  flat = sum(read, [])
  for name in steps_lib.Steps._fields:
    np.testing.assert_array_equal(
        [step[name] for step in flat], getattr(steps, name))


def test_rlds_finds_the_same_transitions(directory):
  dataset = tfds.builder_from_directory(directory).as_dataset(split='train')
  pairs = dataset.flat_map(lambda episode: transformations.batch(
      episode['steps'], size=2, shift=1, drop_remainder=True))
  pairs = list(pairs.as_numpy_iterator())
  found = rlds.load(directory, _TASK)

  assert len(pairs) == len(found.reward) == 6
  for i, pair in enumerate(pairs):
    np.testing.assert_array_equal(pair['observation'][0], found.observation[i])
    np.testing.assert_array_equal(
        pair['observation'][1], found.next_observation[i])
    assert pair['is_terminal'][1] == 1 - found.discount[i]


def test_transitions_equal_those_of_the_file(path, directory):
  by_file = d4rl.load(path, 'antmaze-umaze-v0')
  by_rlds = rlds.load(directory, 'antmaze-umaze-v0')

  np.testing.assert_array_equal(by_rlds.reward, [-2, -2, 2, -2, -2, -2])
  np.testing.assert_array_equal(by_rlds.discount, [1, 1, 0, 1, 1, 1])
  for name in ('observation', 'action', 'reward', 'discount'):
    np.testing.assert_array_equal(
        getattr(by_file, name), getattr(by_rlds, name))
  np.testing.assert_array_equal(
      by_file.extras['next_action'], by_rlds.extras['next_action'])
  # Behind an end the file has the next episode's first row, and RLDS a step of
  # zeros; a discount of 0 masks both.
  alive = by_file.discount == 1
  np.testing.assert_array_equal(
      by_file.next_observation[alive], by_rlds.next_observation[alive])


def test_reads_what_the_builder_of_tfds_writes(tmp_path, monkeypatch):
  size = 60
  rng = np.random.default_rng(0)
  file_name = str(tmp_path / 'antmaze.hdf5')
  with h5py.File(file_name, 'w') as file:
    file['observations'] = rng.standard_normal((size, 29)).astype(np.float32)
    file['actions'] = rng.uniform(-1, 1, (size, 8)).astype(np.float32)
    file['rewards'] = (np.arange(size) % 20 == 14).astype(np.float32)
    file['terminals'] = np.arange(size) % 20 == 14
    file['timeouts'] = np.arange(size) % 20 == 19
    file['infos/goal'] = np.zeros((size, 2), np.float32)
    file['infos/qpos'] = np.zeros((size, 15), np.float32)
    file['infos/qvel'] = np.zeros((size, 14), np.float32)
  monkeypatch.setattr(
      d4rl_antmaze.D4rlAntmaze, '_split_generators',
      lambda self, _: {
          'train': self._generate_examples({'file_path': file_name})})
  builder = d4rl_antmaze.D4rlAntmaze(
      data_dir=str(tmp_path / 'tfds'), config='umaze-v0')
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False))

  found = rlds.load(str(builder.data_dir), 'antmaze-umaze-v0')
  expected = d4rl.load(file_name, 'antmaze-umaze-v0')
  # TFDS shuffles the episodes as it writes them.
  mine, theirs = (np.argsort(x.observation[:, 0]) for x in (expected, found))
  assert len(mine) == len(theirs) == 57
  for name in ('observation', 'action', 'reward', 'discount'):
    np.testing.assert_array_equal(
        getattr(expected, name)[mine], getattr(found, name)[theirs])
  np.testing.assert_array_equal(
      expected.extras['next_action'][mine], found.extras['next_action'][theirs])


def test_false_ends_of_tfds_are_left_out(tmp_path, steps):
  # Each cut episode gets one more step with the same alien observation.
  cut = np.flatnonzero(steps.is_last & ~steps.is_terminal)
  longer = {}
  for name, column in steps._asdict().items():
    longer[name] = np.insert(
        column, cut + 1, 99 if name == 'observation' else 0, axis=0)
  end = cut + 1 + np.arange(len(cut))
  longer['is_last'][end - 1] = False
  longer['is_last'][end] = True
  rlds.write(steps_lib.Steps(**longer), str(tmp_path / 'tfds'))

  _assert_same_steps(rlds.load_steps(str(tmp_path / 'tfds')), steps)


def test_nothing_is_overwritten(directory, steps, path):
  before = sorted(os.listdir(directory))
  with pytest.raises(FileExistsError, match=f'{directory} exists'):
    rlds.write(steps, directory)
  with pytest.raises(FileExistsError, match=f'{path} exists'):
    d4rl.write(steps, path)
  assert sorted(os.listdir(directory)) == before


def test_write_that_fails_leaves_nothing(tmp_path, steps, monkeypatch):
  def fail(*args, **kwargs):
    raise OSError('no space left')
  monkeypatch.setattr(tfds.folder_dataset, 'write_metadata', fail)
  monkeypatch.setattr(h5py.File, 'create_dataset', fail)
  with pytest.raises(OSError, match='no space'):
    rlds.write(steps, str(tmp_path / 'new' / 'rlds'))
  with pytest.raises(OSError, match='no space'):
    d4rl.write(steps, str(tmp_path / 'new' / 'file.hdf5'))
  assert not os.listdir(tmp_path / 'new')


def test_malformed_steps_are_not_written(tmp_path, steps):
  short = steps._replace(action=steps.action[:4])
  for write in (rlds.write, d4rl.write):
    with pytest.raises(ValueError, match='action 4, reward 10'):
      write(short, str(tmp_path / 'new'))


def test_steps_that_begin_within_an_episode_are_refused(tmp_path, steps):
  rest = steps_lib.Steps(*(column[1:] for column in steps))
  with pytest.raises(ValueError, match='is_first'):
    rlds.write(rest, str(tmp_path / 'rlds'))


def _damage(directory):
  name, = [f for f in os.listdir(directory) if 'tfrecord' in f]
  file_name = os.path.join(directory, name)
  os.truncate(file_name, os.path.getsize(file_name) // 2)


@pytest.mark.parametrize('change, message', [
    (lambda d: os.remove(os.path.join(d, 'features.json')),
     'not a TFDS dataset.*features.json'),
    (lambda d: os.remove(os.path.join(d, 'dataset_info.json')),
     'not a TFDS dataset'),
    (_damage, 'damaged or incomplete')])
def test_broken_directory_is_named(directory, change, message):
  change(directory)
  with pytest.raises(ValueError, match=f'{directory}: .*{message}'):
    rlds.load(directory, _TASK)


def test_absent_directory(tmp_path):
  with pytest.raises(FileNotFoundError, match='none: .*--dataset_path'):
    rlds.load(str(tmp_path / 'none'), _TASK)


@pytest.mark.parametrize('change, message', [
    (dict(reward=np.full(10, np.nan, np.float32)), "'reward' is nan at .0."),
    (dict(action=np.full((10, 1), 3, np.float32)), "'action' is 3 at .0, 0."),
    (dict(is_terminal=np.arange(10) == 3), "'is_terminal' is set at .3.")])
def test_broken_content_is_named(tmp_path, steps, change, message):
  rlds.write(steps._replace(**change), str(tmp_path / 'rlds'))
  with pytest.raises(ValueError, match=message):
    rlds.load(str(tmp_path / 'rlds'), _TASK)


@pytest.mark.parametrize('name, shape, message', [
    ('observation', (2,), "'steps/action' is missing.*found observation"),
    ('rgb', (2, 2), "'steps/observation' is missing.*found rgb")])
def test_missing_field_is_named(tmp_path, name, shape, message):
  _write_one_step(tmp_path, {name: np.zeros(shape, np.float32)})
  with pytest.raises(ValueError, match=message):
    rlds.load(str(tmp_path), _TASK)


def test_image_observations_are_refused(tmp_path, steps):
  step = {name: column[0] for name, column in steps._asdict().items()}
  _write_one_step(tmp_path, {**step, 'observation': np.zeros((4, 4), np.uint8)})
  with pytest.raises(
      ValueError, match=r"'steps/observation' has the shape \(None, 4, 4\)"):
    rlds.load(str(tmp_path), _TASK)


def _write_one_step(folder, step):
  features = tfds.features.FeaturesDict({'steps': tfds.features.Dataset({
      name: tfds.features.Tensor(shape=value.shape, dtype=value.dtype)
      for name, value in step.items()})})
  with tf.io.TFRecordWriter(
      str(folder / 'x-train.tfrecord-00000-of-00001')) as writer:
    writer.write(features.serialize_example({'steps': [step]}))
  tfds.folder_dataset.write_metadata(data_dir=folder, features=features)


def test_convert_there_and_back_gives_the_same_transitions(tmp_path, path):
  directory, back = str(tmp_path / 'rlds'), str(tmp_path / 'back.hdf5')
  convert.convert(path, directory)
  convert.convert(directory, back)

  found, expected = d4rl.load(back, _TASK), d4rl.load(path, _TASK)
  for a, b in zip(found[:5], expected[:5]):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(
      found.extras['next_action'], expected.extras['next_action'])


def test_end_at_the_end_of_the_data_survives(tmp_path, steps):
  ended = steps_lib.Steps(*(column[:5] for column in steps))
  assert ended.is_terminal[-1]
  d4rl.write(ended, str(tmp_path / 'ended.hdf5'))
  found = d4rl.load(str(tmp_path / 'ended.hdf5'), _TASK)
  np.testing.assert_array_equal(found.observation[:, 0], [0, 2, 3])
  np.testing.assert_array_equal(found.discount, [1, 1, 0])


def test_discount_that_hdf5_cannot_hold_is_refused(tmp_path, steps):
  with pytest.raises(ValueError, match='0.5 at step 0'):
    d4rl.write(steps._replace(discount=steps.discount * np.float32(.5)),
               str(tmp_path / 'half.hdf5'))


def test_command_converts_and_refuses_to_overwrite(tmp_path, path):
  command = [sys.executable, '-m', 'acme_msg.datasets.convert', path,
             str(tmp_path / 'rlds')]
  subprocess.run(command, check=True)
  assert len(rlds.load(str(tmp_path / 'rlds'), _TASK).reward) == 6
  again = subprocess.run(command, capture_output=True, text=True, check=False)
  assert again.returncode == 1
  assert 'Nothing was converted' in again.stderr
  assert 'rlds exists' in again.stderr
