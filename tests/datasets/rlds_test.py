"""Tests of RLDS datasets on disk, compared with TFDS and RLDS."""

import os

from acme_msg.datasets import d4rl
from acme_msg.datasets import loading
from acme_msg.datasets import rlds
from acme_msg.datasets import steps as steps_lib
import h5py
import numpy as np
import pytest
import reading
from rlds import transformations
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils
from tensorflow_datasets.d4rl import d4rl_antmaze
from tensorflow_datasets.d4rl import d4rl_mujoco_hopper

_TASK = 'hopper-medium-v0'


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  def refuse(path):
    raise AssertionError(f'TFDS looked for {path} on the network')
  monkeypatch.setattr(gcs_utils, 'exists', refuse)


@pytest.fixture
def steps(path):
  return d4rl.D4rlSource(path, _TASK).load_steps()


@pytest.fixture
def directory(tmp_path, steps):
  rlds.write([steps], str(tmp_path / 'rlds'))
  return str(tmp_path / 'rlds')


def _load_steps(path):
  return rlds.RldsSource(path).load_steps()


def _load(path, task_name):
  return loading.load(rlds.RldsSource(path), task_name)


def _assert_same_steps(a, b):
  for name, x, y in zip(steps_lib.Steps._fields, a, b):
    np.testing.assert_array_equal(x, y, name)
    assert x.dtype == y.dtype


def test_written_steps_are_read_again(directory, steps):
  _assert_same_steps(_load_steps(directory), steps)


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
  rlds.write([steps], str(tmp_path / 'rlds'))

  files = [f for f in os.listdir(tmp_path / 'rlds') if 'tfrecord' in f]
  assert len(files) == 4
  _assert_same_steps(_load_steps(str(tmp_path / 'rlds')), steps)


def test_tfds_reads_it_without_our_code(directory, steps):
  builder = tfds.builder_from_directory(directory)
  assert builder.info.splits['train'].num_examples == 4
  read = [list(episode['steps'].as_numpy_iterator())
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
  found = _load(directory, _TASK)

  assert len(pairs) == len(found.reward) == 6
  for i, pair in enumerate(pairs):
    np.testing.assert_array_equal(pair['observation'][0], found.observation[i])
    np.testing.assert_array_equal(
        pair['observation'][1], found.next_observation[i])
    assert pair['is_terminal'][1] == 1 - found.discount[i]


def test_transitions_equal_those_of_the_file(path, directory):
  by_file = reading.load_d4rl(path, 'antmaze-umaze-v0')
  by_rlds = _load(directory, 'antmaze-umaze-v0')

  np.testing.assert_array_equal(by_rlds.reward, [-2, -2, 2, -2, -2, -2])
  np.testing.assert_array_equal(by_rlds.discount, [1, 1, 0, 1, 1, 1])
  for name in ('observation', 'action', 'reward', 'discount'):
    np.testing.assert_array_equal(
        getattr(by_file, name), getattr(by_rlds, name))
  np.testing.assert_array_equal(
      by_file.extras['next_action'], by_rlds.extras['next_action'])
  # After an end the file has the next episode's first row, and RLDS a step of
  # zeros; neither has an effect where the discount is 0.
  alive = by_file.discount == 1
  np.testing.assert_array_equal(
      by_file.next_observation[alive], by_rlds.next_observation[alive])


@pytest.mark.parametrize('builder_class, config, sizes, infos', [
    (d4rl_antmaze.D4rlAntmaze, 'umaze-v0', (29, 8),
     {'goal': (2,), 'qpos': (15,), 'qvel': (14,)}),
    # This builder ends all episodes with the file's last next observation.
    (d4rl_mujoco_hopper.D4rlMujocoHopper, 'v2-random', (11, 3),
     {'action_log_probs': (), 'qpos': (6,), 'qvel': (6,)})])
def test_reads_what_the_builders_of_tfds_write(
    tmp_path, monkeypatch, builder_class, config, sizes, infos):
  size = 60
  rng = np.random.default_rng(0)
  file_name = str(tmp_path / 'rows.hdf5')
  observation = rng.standard_normal((size + 1, sizes[0])).astype(np.float32)
  with h5py.File(file_name, 'w') as file:
    file['observations'] = observation[:-1]
    file['actions'] = rng.uniform(-1, 1, (size, sizes[1])).astype(np.float32)
    file['rewards'] = (np.arange(size) % 20 == 14).astype(np.float32)
    file['terminals'] = np.arange(size) % 20 == 14
    file['timeouts'] = np.arange(size) % 20 == 19
    for name, shape in infos.items():
      file[f'infos/{name}'] = np.zeros(
          (size, *shape), np.float32 if 'goal' in infos else np.float64)
    if 'goal' not in infos:
      file['next_observations'] = observation[1:]
  monkeypatch.setattr(
      builder_class, '_split_generators',
      lambda self, _: {
          'train': self._generate_examples({'file_path': file_name})})
  builder = builder_class(data_dir=str(tmp_path / 'tfds'), config=config)
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(try_download_gcs=False))

  found = _load(str(builder.data_dir), 'antmaze-umaze-v0')
  expected = reading.load_d4rl(file_name, 'antmaze-umaze-v0')
  # TFDS shuffles the episodes as it writes them.
  mine, theirs = (np.argsort(x.observation[:, 0]) for x in (expected, found))
  assert len(mine) == len(theirs) == 57
  alive = (expected.discount[:, None] == 1)[mine]
  for a, b in zip((*expected[:4], expected.extras['next_action']),
                  (*found[:4], found.extras['next_action'])):
    np.testing.assert_array_equal(a[mine], b[theirs])
  np.testing.assert_array_equal(
      expected.next_observation[mine] * alive,
      found.next_observation[theirs] * alive)


def test_false_ends_of_tfds_are_left_out(tmp_path, steps):
  # Each truncated episode gets one more step with the same false observation.
  cut = np.flatnonzero(steps.is_last & ~steps.is_terminal)
  longer = {}
  for name, column in steps._asdict().items():
    longer[name] = np.insert(
        column, cut + 1, 99 if name == 'observation' else 0, axis=0)
  end = cut + 1 + np.arange(len(cut))
  longer['is_last'][end - 1] = False
  longer['is_last'][end] = True
  rlds.write([steps_lib.Steps(**longer)], str(tmp_path / 'tfds'))

  _assert_same_steps(_load_steps(str(tmp_path / 'tfds')), steps)


def test_nothing_is_overwritten(directory, steps, path):
  before = sorted(os.listdir(directory))
  with pytest.raises(FileExistsError, match=f'{directory} exists'):
    rlds.write([steps], directory)
  with pytest.raises(FileExistsError, match=f'{path} exists'):
    d4rl.write([steps], path)
  assert sorted(os.listdir(directory)) == before


def test_write_that_fails_leaves_nothing(tmp_path, steps, monkeypatch):
  def fail(*args, **kwargs):
    raise OSError('no space left')
  monkeypatch.setattr(tfds.folder_dataset, 'write_metadata', fail)
  monkeypatch.setattr(h5py.File, 'create_dataset', fail)
  with pytest.raises(OSError, match='no space'):
    rlds.write([steps], str(tmp_path / 'new' / 'rlds'))
  with pytest.raises(OSError, match='no space'):
    d4rl.write([steps], str(tmp_path / 'new' / 'file.hdf5'))
  assert not os.listdir(tmp_path / 'new')


def test_malformed_steps_are_not_written(tmp_path, steps):
  short = steps._replace(action=steps.action[:4])
  for write in (rlds.write, d4rl.write):
    with pytest.raises(ValueError, match='action 4, reward 10'):
      write([short], str(tmp_path / 'new'))


def test_steps_that_begin_within_an_episode_are_refused(tmp_path, steps):
  rest = steps.rows(slice(1, None))
  with pytest.raises(ValueError, match='is_first'):
    rlds.write([rest], str(tmp_path / 'rlds'))


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
    _load(directory, _TASK)


def test_absent_directory(tmp_path):
  with pytest.raises(FileNotFoundError, match='none: .*--dataset'):
    _load(str(tmp_path / 'none'), _TASK)


@pytest.mark.parametrize('change, message', [
    (dict(reward=np.full(10, np.nan, np.float32)), "'reward' is nan at .0."),
    (dict(action=np.full((10, 1), 3, np.float32)), "'action' is 3 at .0, 0."),
    (dict(is_terminal=np.arange(10) == 3),
     "episode 1: .*'is_terminal' is set at .1.")])
def test_broken_content_is_named(tmp_path, steps, change, message):
  rlds.write([steps._replace(**change)], str(tmp_path / 'rlds'))
  with pytest.raises(ValueError, match=message):
    _load(str(tmp_path / 'rlds'), _TASK)


@pytest.mark.parametrize('name, shape, message', [
    ('observation', (2,), "'steps/action' is missing.*found steps/observation"),
    ('rgb', (2, 2), "'steps/observation' is missing.*found steps/rgb")])
def test_missing_field_is_named(tmp_path, name, shape, message):
  _write_one_step(tmp_path, {name: np.zeros(shape, np.float32)})
  with pytest.raises(ValueError, match=message):
    _load(str(tmp_path), _TASK)


def test_image_observations_are_refused(tmp_path, steps):
  step = {name: column[0] for name, column in steps._asdict().items()}
  _write_one_step(tmp_path, {**step, 'observation': np.zeros((4, 4), np.uint8)})
  with pytest.raises(
      ValueError, match=r"'steps/observation' has the shape \(None, 4, 4\)"):
    _load(str(tmp_path), _TASK)


@pytest.mark.parametrize('value, message', [
    (np.array(b'left', object),
     "'steps/observation/eye' has the type object, not a real number"),
    (np.zeros((4, 4, 3), np.float32), "'steps/observation/eye' has the shape")])
def test_images_and_strings_in_nested_observations_are_refused(
    tmp_path, steps, value, message):
  step = {name: column[0] for name, column in steps._asdict().items()}
  step['observation'] = {'joints': step['observation'],
                         'eye': np.asarray(value)}
  _write_one_step(tmp_path, step)
  with pytest.raises(ValueError, match=message):
    _load(str(tmp_path), _TASK)


def _write_one_step(folder, step):
  def describe(value):
    if isinstance(value, dict):
      return {name: describe(member) for name, member in value.items()}
    dtype = tf.string if value.dtype == object else value.dtype
    return tfds.features.Tensor(shape=value.shape, dtype=dtype)

  features = tfds.features.FeaturesDict(
      {'steps': tfds.features.Dataset(describe(step))})
  with tf.io.TFRecordWriter(
      str(folder / 'x-train.tfrecord-00000-of-00001')) as writer:
    writer.write(features.serialize_example({'steps': [step]}))
  tfds.folder_dataset.write_metadata(data_dir=folder, features=features)


def test_end_at_the_end_of_the_data_survives(tmp_path, steps):
  ended = steps.rows(slice(5))
  assert ended.is_terminal[-1]
  d4rl.write([ended], str(tmp_path / 'ended.hdf5'))
  found = reading.load_d4rl(str(tmp_path / 'ended.hdf5'), _TASK)
  np.testing.assert_array_equal(found.observation[:, 0], [0, 2, 3])
  np.testing.assert_array_equal(found.discount, [1, 1, 0])


def test_discount_that_hdf5_cannot_hold_is_refused(tmp_path, steps):
  with pytest.raises(ValueError, match='0.5 at step 0'):
    d4rl.write([steps._replace(discount=steps.discount * np.float32(.5))],
               str(tmp_path / 'half.hdf5'))
