"""Broken HDF5 files, D4RL's and Minari's: each ends in one clear ValueError."""

import fcntl
import json
import os
import shutil
import zlib

from acme_msg import datasets
from acme_msg.datasets import d4rl
import h5py
import numpy as np
import pytest


def refused(path, load, *words):
  """Asserts that loading ends in an error that holds the path and the words."""
  with pytest.raises((ValueError, FileNotFoundError)) as raised:
    load()
  assert type(raised.value) in (ValueError, FileNotFoundError)
  for word in (str(path), *words):
    assert word in str(raised.value)


def _put(name, value):
  def change(file, folder):
    del folder
    del file[name]
    file[name] = value
  return change


def _external_link(file, folder):
  with h5py.File(folder / 'other.hdf5', 'w') as other:
    other['rewards'] = np.zeros(9)
  _put('rewards', h5py.ExternalLink(str(folder / 'other.hdf5'), 'rewards'))(
      file, folder)


def _external_storage(file, folder):
  (folder / 'secret').write_bytes(np.arange(9.).tobytes())
  del file['rewards']
  file.create_dataset('rewards', shape=(9,), dtype='f8', external=[
      (str(folder / 'secret'), 0, h5py.h5f.UNLIMITED)])


def _virtual(file, folder):
  with h5py.File(folder / 'other.hdf5', 'w') as other:
    other['rewards'] = np.zeros(9)
  layout = h5py.VirtualLayout(shape=(9,), dtype='f8')
  layout[:] = h5py.VirtualSource(
      str(folder / 'other.hdf5'), 'rewards', shape=(9,))
  del file['rewards']
  file.create_virtual_dataset('rewards', layout)


def _made(name, **options):
  def change(file, folder):
    del folder
    del file[name]
    file.create_dataset(name, **options)
  return change


def _odd_float(file, folder):
  """Makes a field of a float type that NumPy does not have; from `fuzz.py`."""
  del folder
  del file['rewards']
  odd = h5py.h5t.IEEE_F64LE.copy()
  odd.set_ebias(60_000)
  h5py.h5d.create(file.id, b'rewards', odd, h5py.h5s.create_simple((9,)))


def _bomb(file, folder):
  """Stores one chunk of 8 MiB of zeros 20 times, in 160 kB."""
  del folder
  del file['observations']
  rows = 2**21
  field = file.create_dataset(
      'observations', shape=(20 * rows, 1), dtype='f4', chunks=(rows, 1),
      compression='gzip')
  packed = zlib.compress(bytes(4 * rows))
  for number in range(20):
    field.id.write_direct_chunk((number * rows, 0), packed)
  for name in ('actions', 'rewards', 'terminals', 'timeouts'):
    shape = (20 * rows, 1) if name == 'actions' else (20 * rows,)
    _made(name, shape=shape, dtype='i1', chunks=(rows, *shape[1:]),
          fillvalue=0, compression='gzip')(file, None)


def _with_blank(file, folder):
  del folder
  file.move('rewards', 'rewards ')


_FILES = {
    'empty value': (_put('rewards', h5py.Empty('f4')),
                    ["'rewards' has no value (h5py.Empty)"]),
    'group': (_put('rewards', h5py.SoftLink('/')), ["'rewards' is a link"]),
    'dangling link': (_put('actions', h5py.SoftLink('/nowhere')),
                      ["'actions' is a link to another place", 'store']),
    'link to a field': (_put('timeouts', h5py.SoftLink('/terminals')),
                        ["'timeouts' is a link to another place"]),
    'external link': (_external_link, ["'rewards' is a link to another file"]),
    'external storage': (_external_storage,
                         ["'rewards' lies outside of the file", 'secret']),
    'virtual': (_virtual, ["'rewards' is virtual"]),
    'a type': (_put('rewards', np.dtype('f4')), ['is a type without data']),
    'sparse': (_made('observations', shape=(2**30, 8), dtype='f4'),
               ['different numbers of rows', 'observations 1073741824']),
    'bomb': (_bomb, ["field 'terminals' the fields claim 293,601,280",
                     '1,100 times', 'without compression']),
    'never written': (
        _made('observations', shape=(2**20, 2), dtype='f4', chunks=(1, 2)),
        ['1,048,576 chunks of 1,048,576 that were never written']),
    'foreign filter': (
        _made('rewards', shape=(9,), dtype='f4', chunks=(9,), compression=307,
              allow_unknown_filter=True),
        ['packed by the filters [307]', 'h5repack']),
    'records': (_put('rewards', np.zeros(9, [('a', 'f4')])),
                ["'rewards' has the type", 'not a real number']),
    'texts': (_made('actions', shape=(9, 1), dtype=h5py.string_dtype()),
              ["'actions' has the type object"]),
    'odd float': (_odd_float, ["reading the field 'rewards'", 'precision']),
    'blank in a name': (_with_blank, ["'rewards' is missing", "'rewards '"]),
    'absurd observation': (_put('observations', np.full((9, 2), -1e38)),
                           ["'observations' is -1e+38 at [0, 0]", '1e+18']),
    'absurd reward': (_put('rewards', np.full(9, 2e18)),
                      ["'rewards' is 2e+18 at [0]", 'larger than 1e+18']),
}


@pytest.mark.parametrize('kind', _FILES)
def test_broken_file(tmp_path, path, kind):
  change, words = _FILES[kind]
  with h5py.File(path, 'a') as file:
    change(file, tmp_path)
  refused(path, d4rl.D4rlSource(path, 'hopper-medium-v0').load_steps, *words)


def test_small_file_does_not_ask_for_much_memory(tmp_path):
  path = tmp_path / 'sparse.hdf5'
  with h5py.File(path, 'w') as file:
    for name in ('observations', 'actions', 'rewards', 'terminals'):
      shape = (2**30, 4) if name[0] in 'oa' else (2**30,)
      file.create_dataset(name, shape=shape, dtype='f4')
  assert path.stat().st_size < 4096
  refused(path, lambda: next(d4rl.D4rlSource(str(path)).blocks(10)),
          "'observations' the fields claim 17,179,869,184 bytes")


def _fifo(path):
  os.mkfifo(path)


def _loop(path):
  os.symlink(path, path)


@pytest.mark.parametrize('make, words', [
    (_fifo, ['this is a FIFO', 'name the file']),
    (os.mkdir, ['this directory is not a dataset']),
    (_loop, ['cannot be followed', 'links']),
    (lambda path: os.symlink('/dev/zero', path), ['this is a device']),
    (lambda path: open(path, 'w').close(), ['empty (0 bytes)', 'again']),
    (lambda path: os.symlink('/nowhere', path), ['no such dataset file'])])
@pytest.mark.parametrize('name', ['x.hdf5', 'x.npz', 'data/main_data.hdf5'])
def test_what_is_no_file_is_not_opened(tmp_path, make, words, name):
  path = str(tmp_path / name)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  make(path)
  refused(path, lambda: datasets.load(datasets.find(path)), *words)
  if make is _fifo:
    refused(path, lambda: datasets.identify(datasets.find(path)), *words)


def test_file_without_permission(tmp_path, path):
  os.chmod(path, 0)
  os.chmod(tmp_path, 0)
  if os.geteuid() == 0:
    os.seteuid(65534)
  try:
    refused(path, d4rl.D4rlSource(path).load_steps, 'Permission denied',
            'permissions')
  finally:
    if os.getuid() == 0:
      os.seteuid(0)
    os.chmod(tmp_path, 0o700)


def test_name_that_is_not_utf8(tmp_path, path):
  name = os.path.join(os.fsencode(tmp_path), b'rows\xff.hdf5')
  shutil.copy(path, name)
  refused(r'rows\udcff.hdf5', lambda: datasets.find(os.fsdecode(name)),
          'not valid UTF-8', 'rename')


def test_locked_file(path):
  with open(path, 'ab') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    refused(path, d4rl.D4rlSource(path, 'hopper-medium-v0').load_steps,
            'another process has locked the file', 'wait')


def test_large_numbers_are_warned_of_once_with_their_range(
    path, caplog):
  with h5py.File(path, 'a') as file:
    file['observations'][2, 1] = -3e7
    file['observations'][8, 0] = 2e6
  d4rl.D4rlSource(path, 'hopper-medium-v0').load_steps()
  assert "'observations' spans -3e+07 to 2e+06" in caplog.text
  assert len(caplog.records) == 1


@pytest.fixture
def minari(tmp_path, stored):
  shutil.copytree(os.path.dirname(stored('minari').name), tmp_path / 'data')
  return str(tmp_path / 'data/main_data.hdf5')


def _contains_itself(file, folder):
  del folder, file['episode_2/observations']
  file.create_group('episode_2/observations')['x'] = file['episode_2']


def _many_links(file, folder):
  """Makes 2**40 paths to a field of one number."""
  del folder, file['episode_2/observations']
  group = file.create_group('episode_2/observations')
  for _ in range(40):
    group['y'] = group.create_group('x')
    group = group['x']
  group['x'] = np.zeros((1, 1))


def _outside(file, folder):
  shutil.copy(folder / 'data/main_data.hdf5', folder / 'other.hdf5')
  _put('episode_2', h5py.ExternalLink(
      str(folder / 'other.hdf5'), 'episode_2'))(file, folder)


def _count(value):
  return lambda file, folder: file.attrs.__setitem__('total_episodes', value)


_MINARI = {
    'text': (_count('nine'), ["total_episodes='nine', and 9 groups"]),
    'no value': (_count(h5py.Empty('i8')), ['total_episodes=Empty', 'again']),
    'too many': (_count(2**40), ['total_episodes=1099511627776, and 9']),
    'negative': (_count(-1), ['total_episodes=-1']),
    'several': (_count([9, 9]), ['total_episodes=array([9, 9])']),
    'loop': (_contains_itself,
             ['episode 2', "'observations/x/observations' contains itself"]),
    'many links': (_many_links, ['observations/x/x', 'the fields claim']),
    'link': (_outside, ["'episode_2' is a link to another file"]),
    'not a group': (_put('episode_2', np.zeros(3)),
                    ["no group 'episode_2', though", 'is 9']),
    'empty group': (
        lambda file, _: (file.__delitem__('episode_2/observations'),
                         file.create_group('episode_2/observations')),
        ['episode 2', "'observations' is an empty structure"]),
    'texts': (_made('episode_2/rewards', data=[b'a']),
              ['episode 2', "'rewards' has the type object"]),
    'claims': (
        _made('episode_2/rewards', shape=(2**40,), dtype='f8', chunks=(2**20,)),
        ['never written']),
}


@pytest.mark.parametrize('kind', _MINARI)
def test_broken_minari_file(tmp_path, minari, kind):
  change, words = _MINARI[kind]
  with h5py.File(minari, 'a') as file:
    change(file, tmp_path)
  refused(minari, datasets.find(minari).load_steps, *words)


def test_number_of_episodes_of_minari_0_5(tmp_path, minari, stored):
  with h5py.File(minari, 'a') as file:
    total = int(file.attrs['total_episodes'])
    for name in list(file.attrs):
      del file.attrs[name]
  description = tmp_path / 'data/metadata.json'
  description.write_text(
      json.dumps({'total_episodes': total, 'data_format': 'hdf5'}))
  found = datasets.find(str(tmp_path)).load_steps()
  np.testing.assert_array_equal(
      found.reward, stored('minari').load_steps().reward)
  for content, words in (
      ('{', ['JSON']), ('[' * 10**5, ['JSON']), ('[]', ['holds no object']),
      ('\xff', ['JSON'])):
    description.write_text(content, encoding='latin-1')
    refused(description, datasets.find(minari).load_steps, *words)
  description.unlink()
  refused(minari, datasets.find(minari).load_steps, 'total_episodes=None')


def test_arrow_of_minari_is_not_blamed_on_the_file(tmp_path):
  (tmp_path / 'data/0').mkdir(parents=True)
  (tmp_path / 'data/0/part-0.arrow').write_bytes(b'ARROW1')
  (tmp_path / 'data/metadata.json').write_text(
      json.dumps({'total_episodes': 1, 'data_format': 'arrow'}))
  refused(tmp_path, lambda: datasets.find(str(tmp_path)),
          "the format 'arrow' of Minari is not supported", 'README.md')


def test_name_that_is_listed_and_cannot_be_opened(minari):
  with h5py.File(minari, 'a') as file:
    del file['episode_2/observations']
    for name in ('left', 'middle', 'right'):
      file[f'episode_2/observations/{name}'] = np.zeros((2, 1))
  with open(minari, 'rb') as file:
    content = file.read()
  with open(minari, 'wb') as file:  # HDF5 searches names by their order.
    file.write(content.replace(b'middle', b'zzddle'))
  refused(minari, datasets.find(minari).load_steps,
          "'observations/zzddle' is listed, but cannot be opened")
