"""Broken npz files, TFDS datasets and episodes: each ends in one ValueError.

No input runs code. HDF5 files are in `broken_hdf5_test.py`.
"""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import zipfile

from acme_msg import datasets
from acme_msg.datasets import convert
from acme_msg.datasets import ogbench
from acme_msg.datasets import pointmaze_generator
from broken_hdf5_test import refused
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
  """Fails if a module that the inputs name is imported."""
  (tmp_path / 'canary.py').write_text('')
  monkeypatch.syspath_prepend(str(tmp_path))
  yield
  assert sys.modules.pop('canary', None) is None


class _Executes:
  """Imports the canary when it is unpickled."""

  def __reduce__(self):
    return __import__, ('canary',)


def _npy(value, claim=None):
  """Returns an array in NumPy's format, perhaps with another shape."""
  file = io.BytesIO()
  np.save(file, value, allow_pickle=True)
  data = file.getvalue()
  if claim:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {
        'descr': value.dtype.str, 'fortran_order': False, 'shape': claim})
    data = header.getvalue() + value.tobytes()
  return data


_NPZ = {
    'code': (_npy(np.array([_Executes()] * 50)),
             ["'rewards' has the type object"]),
    'more rows than bytes': (
        _npy(np.zeros(50), (10**6,)),
        ["reading the field 'rewards'", '(1000000,) needs 8,000,000 bytes',
         'there are 5']),
    'more rows than memory': (
        _npy(np.zeros(50), (2**62,)),
        ["'rewards' the fields claim", '1,100 times']),
    'negative rows': (_npy(np.zeros(50), (-50,)),
                      ["reading the field 'rewards'", 'shape (-50,)']),
    'no header': (b'123', ["reading the field 'rewards'"]),
    'long header': (b'\x93NUMPY\x02\x00' + struct.pack('<I', 2**31) + b'(' * 99,
                    ["reading the field 'rewards'"]),
    'nested header': (
        b'\x93NUMPY\x01\x00' + struct.pack('<H', 9000) + b'(' * 9000,
        ["reading the field 'rewards'"]),
    'scalar': (_npy(np.zeros(())), ["'rewards' has the shape ()"]),
    'absurd': (_npy(np.full(50, -1e38)), ["'rewards' is -1e+38 at [0]"]),
}


@pytest.mark.parametrize('kind', _NPZ)
def test_broken_npz(tmp_path, stored, kind):
  member, words = _NPZ[kind]
  path = str(tmp_path / 'mine.npz')
  with (zipfile.ZipFile(stored('ogbench').name) as old,
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
                        ) as new):
    for name in old.namelist():
      new.writestr(name, member if name == 'rewards.npy' else old.read(name))
  refused(path, datasets.find(path).load_steps, *words)


def test_npz_that_is_none(tmp_path, stored):
  path = str(tmp_path / 'mine.npz')
  for content, words in (
      (pickle.dumps(_Executes()), ['not an .npz file']),
      (_npy(np.zeros(5)), ['not an .npz file'])):
    with open(path, 'wb') as file:
      file.write(content)
    refused(path, datasets.find(path).load_steps, *words)
  with (zipfile.ZipFile(stored('ogbench').name) as old,
        zipfile.ZipFile(path, 'w', zipfile.ZIP_LZMA) as new):
    for name in old.namelist():
      new.writestr(name, old.read(name))
  refused(path, datasets.find(path).load_steps,
          "'observations'", 'numpy.savez_compressed')


@pytest.mark.parametrize('goal', [['nan', '1'], ['1', 'inf'], ['1'], ['a', '']])
def test_goal_must_be_finite(goal):
  refused('--dataset_goal=', lambda: ogbench.parse_goal(goal), 'two finite')
  if goal[0] == 'nan':
    refused('goal=', lambda: ogbench.OgbenchSource('x', (np.nan, 1.)), 'finite')


def _json(name, change):
  """Changes the text of a description."""
  def changed(folder):
    file = folder / name
    text = change(file.read_text())
    assert text != file.read_text()
    file.write_bytes(text.encode('latin-1'))
  return changed


def _class(key, value='canary.Feature'):
  return _json('features.json', lambda text: text.replace(
      '"pythonClassName": "tensorflow_datasets.core.features.tensor_feature.'
      'Tensor"', f'"{key}": "{value}"', 1))


def _text(feature):
  """Adds a feature whose description is text, which TFDS parses again."""
  def change(text):
    tree = json.loads(text)
    tree['featuresDict']['features']['more'] = feature
    return json.dumps(tree)
  return _json('features.json', change)


def _info(**changes):
  return _json('dataset_info.json', lambda text: json.dumps(
      {**json.loads(text), **changes}))


def _split(**changes):
  def changed(text):
    content = json.loads(text)
    content['splits'][0].update(changes)
    return json.dumps(content)
  return _json('dataset_info.json', changed)


def _shard(change):
  def changed(folder):
    shard, = folder.glob('*tfrecord*')
    change(shard)
  return changed


def _to_fifo(shard):
  shard.unlink()
  os.mkfifo(shard)


def _claim_much(shard):
  """Gives the first record a length of 2**50."""
  data = shard.read_bytes()
  shard.write_bytes(struct.pack('<Q', 2**50) + data[8:])


def _write_records(*records):
  def write(shard):
    with tf.io.TFRecordWriter(str(shard)) as writer:
      for record in records:
        writer.write(record)
  return write


_DICT = 'tensorflow_datasets.core.features.features_dict.FeaturesDict'
_TFDS = {
    'class': (_class('pythonClassName'),
              ['features.json', "'canary.Feature' is not one of TFDS 4.8.3"]),
    'class in another spelling': (
        _class('python_class_name'), ["'canary.Feature' is not one of TFDS"]),
    'old form of a class': (
        _class('type'), ["'canary.Feature' is not one of TFDS"]),
    'class in a text': (
        _text({'pythonClassName': _DICT, 'jsonFeature': {'json': json.dumps(
            {'a': {'type': 'canary.Feature', 'content': {}}})}}),
        ["'canary.Feature' is not one of TFDS"]),
    'class in a text of the old form': (
        _text({'type': _DICT, 'proto_cls': 'tensorflow_datasets.FeaturesDict',
               'content': json.dumps({'features': {
                   'a': {'pythonClassName': 'canary.Feature'}}})}),
        ["'canary.Feature' is not one of TFDS"]),
    "module of TFDS's tests": (
        _class('pythonClassName', 'tensorflow_datasets.testing.Nothing'),
        ["'tensorflow_datasets.testing.Nothing' is not one"]),
    'array_record': (_info(fileFormat='array_record'),
                     ["format 'array_record' of TFDS is not supported",
                      "file_format='tfrecord'", 'README.md']),
    'parquet': (_info(fileFormat='parquet'),
                ["format 'parquet' of TFDS is not supported"]),
    'unknown key': (_info(nothing=1), ['TFDS cannot read', 'nothing']),
    'no version': (_info(version='x'), ['TFDS cannot read']),
    'no JSON': (_json('features.json', lambda text: text[:-9]),
                ['features.json: not a description']),
    'no UTF-8': (_json('features.json', lambda _: '\xff'),
                 ['features.json: not a description']),
    'deep': (_json('features.json', lambda _: '[' * 10**5),
             ['features.json: not a description']),
    'list': (_json('dataset_info.json', lambda _: '[]'),
             ['dataset_info.json: not a description', 'holds no object']),
    'empty': (_json('features.json', lambda _: ''), ['empty (0 bytes)']),
    'no features': (lambda folder: (folder / 'features.json').unlink(),
                    ['features.json is missing']),
    'elsewhere': (_split(filepathTemplate='../../secret'),
                  ['../../secret', 'lies elsewhere']),
    'template': (_split(filepathTemplate='{NOTHING}'), ['TFDS cannot read']),
    'more shards': (_split(shardLengths=['9', '9']),
                    ['the file', '-of-00002 is missing', 'whole dataset']),
    'more episodes': (_split(shardLengths=['12']), ['it holds 9 of 12']),
    'fewer episodes': (_split(shardLengths=['1']), ['it holds 9 of 1']),
    'no shard': (_shard(os.unlink), ['-of-00001 is missing']),
    'shard is a FIFO': (_shard(_to_fifo), ['this is a FIFO']),
    'cut shard': (_shard(lambda shard: shard.write_bytes(
        shard.read_bytes()[:-20])), ['record 8 claims', 'copy it again']),
    'long record': (_shard(_claim_much),
                    ['record 0 claims 1,125,899,906,842,624 bytes']),
    'other records': (_shard(_write_records(b'no example')),
                      ['damaged or incomplete']),
    'empty records': (_shard(_write_records(b'', b'')), ['episode 0', 'empty']),
}


@pytest.mark.parametrize('kind', _TFDS)
def test_broken_tfds_dataset(tmp_path, stored, kind):
  change, words = _TFDS[kind]
  folder = tmp_path / 'rlds'
  shutil.copytree(stored('rlds').name, folder)
  change(folder)
  refused(folder, lambda: datasets.load(datasets.find(str(folder))), *words)


def test_columns_of_different_lengths_in_a_record(tmp_path, stored):
  folder = tmp_path / 'rlds'
  shutil.copytree(stored('rlds').name, folder)
  shard, = folder.glob('*tfrecord*')
  records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
  example = tf.train.Example.FromString(records[0])
  del example.features.feature['steps/reward'].float_list.value[-1]
  _write_records(example.SerializeToString(), *records[1:])(shard)
  refused(folder, datasets.find(str(folder)).load_steps,
          'episode 0', 'different numbers of rows', 'reward 5')


def _endless():
  tree = {}
  tree['x'] = tree
  return tree


_EPISODES = {
    'no list': (lambda e: 5, ['found int, expected a list']),
    'array': (lambda e: np.zeros(()), ['found ndarray, expected a list']),
    'no mapping': (lambda e: [e, 'text'],
                   ['episode 1', 'found str, expected a mapping']),
    'contains itself': (lambda e: [{**e, 'observations': _endless()}],
                        ["'observations' contains itself"]),
    'ragged': (lambda e: [{**e, 'actions': [[1], [1, 2]]}],
               ["'actions' is not an array"]),
    'masked': (lambda e: [{**e, 'rewards': np.ma.masked_equal(
        np.zeros(5), 0)}], ["'rewards' has masked values"]),
    'bytes': (lambda e: [{k.encode(): v for k, v in e.items()}],
              ["'observations' is missing", "found b'observations'"]),
    'text for a flag': (lambda e: [{**e, 'terminated': 'yes'}],
                        ["'terminated' has the type <U3"]),
    'keys of two types': (
        lambda e: [{**e, 'observations': {1: np.zeros(6), 'a': 'x'}}],
        ["'observations/a' has the type <U1"]),
    'odd key': (
        lambda e: [{**e, 'observations': {'_index_²': ['x']}}],
        ["'observations/_index_²' has the type"]),
    'absurd': (lambda e: [{**e, 'rewards': e['rewards'] - 1e38}],
               ['episode 0', "'rewards' is -9.99", 'larger than 1e+18']),
}


@pytest.mark.parametrize('kind', _EPISODES)
def test_broken_episodes(episodes, kind):
  change, words = _EPISODES[kind]
  refused('mine', lambda: datasets.from_episodes(change(episodes[0]), 'mine'),
          *words)


@pytest.mark.parametrize('n_step', [0, -1, 1001, 10**9])
def test_n_step_is_bounded(n_step):
  refused(f'n_step={n_step}', lambda: datasets.DataOptions(n_step=n_step))


def test_generated_file_that_is_damaged(tmp_path, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path))
  path = pointmaze_generator.dataset_path('pointmaze-umaze')
  with open(path, 'w', encoding='ascii') as file:
    file.write('{}')
  refused(path, datasets.find('pointmaze-umaze').load_steps,
          'not an HDF5 file', 'make it again')


@pytest.mark.parametrize('target', ['new.hdf5', 'new'])
def test_nothing_is_left_of_what_cannot_be_converted(
    tmp_path, stored, target):
  path = tmp_path / 'mine.npz'
  with np.load(stored('ogbench').name) as file:
    columns = dict(file)
  columns['rewards'][-1] = np.nan
  np.savez(path, **columns)
  with pytest.raises(ValueError, match='nan at'):
    convert.convert(datasets.find(str(path)), str(tmp_path / 'out' / target))
  assert not os.listdir(tmp_path / 'out')


def test_full_disk_ends_a_conversion_with_one_line(tmp_path, episodes):
  source = datasets.from_episodes(episodes * 100)
  convert.convert(source, str(tmp_path / 'big.hdf5'))
  (tmp_path / 'out').mkdir()
  limit = (10_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
  # A process of its own: HDF5 may crash at the end of one.
  done = subprocess.run(
      [sys.executable, '-m', 'acme_msg.datasets.convert',
       tmp_path / 'big.hdf5', tmp_path / 'out/new.hdf5'],
      capture_output=True, text=True, check=False,
      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
  assert done.returncode == 1
  assert 'Traceback' not in done.stderr
  assert done.stderr.strip().splitlines()[-1] == (
      'Nothing was converted: [Errno 27] File too large: '
      f"'{tmp_path}/out/new.hdf5'")
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  try:
    with pytest.raises(OSError, match='out/new: .*File too large'):
      convert.convert(source, str(tmp_path / 'out/new'))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert not os.listdir(tmp_path / 'out')
