"""Random changes to small datasets, for `fuzz.py`; each is made by a seed.

A mutation gets a random generator, a copy of the files that the real library
wrote, and changes bytes, or the content by means of the format's own library.
"""

import io
import json
import os
import struct
import zipfile

import h5py
import numpy as np

# Numbers near the bounds of lengths, offsets and floats.
_NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
            2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
# Text that a reader could take for a module, path, number or template.
_TEXTS = ('', 'fuzz_canary.Feature', 'fuzz_canary', '../../../dev/zero',
          '/dev/zero', 'nan', '1e400', '-1', '\x00', '\ud7ff', 'x' * 5000,
          'array_record', '{SPLIT}', '{', '0.0.0',
          'tensorflow_datasets.core.features.text_feature.Text',
          'tensorflow_datasets.core.features.image_feature.Image',
          'tensorflow_datasets.testing.Nothing')


class _Executes:
  """Imports a module when it is unpickled."""

  def __reduce__(self):
    return __import__, ('fuzz_canary',)


def odd_values(rng: np.random.Generator) -> list:
  """Returns values that no episode should hold, of every kind."""
  cycle: dict = {}
  cycle['x'] = cycle
  deep: list = []
  for _ in range(5000):
    deep = [deep]
  return [
      None, True, -1, 2**70, 1e38, -1e300, float('nan'), float('inf'), 1j,
      'text', b'bytes', '', [], {}, (), [[1], [1, 2]], [None], object(),
      _Executes(), cycle, deep, set(), range(3), iter(()), np.ma.masked,
      np.datetime64('NaT'), np.zeros(()), np.zeros(0), np.zeros((0, 5)),
      np.zeros((5, 0)), np.zeros((6, 5), object), np.zeros((6, 5), 'S3'),
      np.zeros((6, 5), 'U3'), np.zeros((6, 5), 'm8[s]'),
      np.zeros(6, [('a', 'f4')]), np.full((6, 5), np.nan),
      np.full((6, 5), 1e38), np.full((6, 5), 1e18, np.float64),
      np.zeros((6, 5), np.complex64), np.zeros((6, 5), np.longdouble),
      np.zeros((6, 5), np.float16), np.zeros((6, 5), '>f8'),
      np.zeros((6, 4, 4, 3), np.uint8), np.zeros((1,) * 32),
      np.full(6, 2**63, np.uint64), rng.standard_normal((6, 5)),
      {'a': np.zeros(3), 1: np.zeros(3)}, {'a': {}}, ({}, []), {None: 1},
      memoryview(b'abc'), bytearray(b'abc'), np.ma.zeros((6, 5))]


def mutate_bytes(rng: np.random.Generator, data: bytes) -> bytes:
  """Changes some bytes, at random places."""
  result = bytearray(data)
  for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
    if not result:
      break
    at, kind = int(rng.integers(len(result))), int(rng.integers(8))
    stop = at + int(2**rng.uniform(0, 9))
    if kind == 0:
      result[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
      result[at] = int(rng.choice([0, 1, 127, 128, 255]))
    elif kind == 2:
      number = struct.pack('<Q', _NUMBERS[rng.integers(len(_NUMBERS))])
      size = int(rng.choice([1, 2, 4, 8]))
      result[at:at + size] = number[:size]
    elif kind == 3:
      result[at:stop] = bytes(len(result[at:stop]))
    elif kind == 4:
      result[at:stop] = rng.bytes(len(result[at:stop]))
    elif kind == 5 and rng.random() < .3:
      del result[at:]
    elif kind == 6:
      del result[at:stop]
    else:
      result[at:at] = result[at:stop]
  return bytes(result)


def _mutate_file(rng: np.random.Generator, path: str):
  with open(path, 'rb') as file:
    data = file.read()
  with open(path, 'wb') as file:
    file.write(mutate_bytes(rng, data))


def mutate_hdf5(rng: np.random.Generator, path: str):
  """Changes an HDF5 file's bytes, or one of its fields."""
  if rng.random() < .6:
    _mutate_file(rng, path)
    return
  with h5py.File(path, 'r+') as file:
    names: list[str] = []
    file.visit(names.append)
    name = names[rng.integers(len(names))]
    kind = int(rng.integers(9))
    if kind == 0:
      file.attrs['total_episodes'] = [
          -1, 0, 2**40, 'nine', 1.5, np.nan, h5py.Empty('i8'), [1, 2],
          b'\xff'][rng.integers(9)]
      return
    del file[name]
    if kind == 1:
      file[name] = h5py.Empty('f4')
    elif kind == 2:
      file[name] = h5py.SoftLink(
          ['/nowhere', '/', f'/{name}', '/rewards'][rng.integers(4)])
    elif kind == 3:
      file[name] = h5py.ExternalLink(
          ['/etc/passwd', path, 'none'][rng.integers(3)], '/rewards')
    elif kind == 4:
      file[name] = file['/']
    elif kind == 5:
      file.create_group(name)['x'] = np.zeros(5)
    elif kind == 6:
      file.create_dataset(
          name, shape=(int(rng.choice([9, 2**20, 2**33])), 5), dtype='f8',
          chunks=(int(rng.choice([1, 9])), 5), maxshape=(None, 5),
          compression='gzip')
    elif kind == 7:
      file.create_dataset(name, shape=(9,), dtype='f4', external=[
          ('/etc/passwd', 0, h5py.h5f.UNLIMITED)])
    else:
      values = odd_values(rng)
      try:
        file[name] = values[rng.integers(len(values))]
      except (TypeError, ValueError, OSError, RecursionError, KeyError,
              AttributeError, OverflowError):
        pass  # What HDF5 cannot hold; the field is missing then.


def mutate_npz(rng: np.random.Generator, path: str):
  """Changes an npz file's bytes, or the arrays in it."""
  if rng.random() < .3:
    _mutate_file(rng, path)
    return
  with zipfile.ZipFile(path) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  name = list(members)[rng.integers(len(members))]
  kind = int(rng.integers(4))
  if kind == 0:
    values = odd_values(rng)
    stored = io.BytesIO()
    try:
      np.save(stored, values[rng.integers(len(values))])
      members[name] = stored.getvalue()
    except Exception:  # pylint: disable=broad-except
      del members[name]
  elif kind == 1:  # The header only.
    members[name] = (
        mutate_bytes(rng, members[name][:128]) + members[name][128:])
  elif kind == 2:
    header = members[name][:128].replace(b'(50,', b'(%d,' % int(
        rng.choice([0, 49, 10**6, 10**12, 2**62])))
    members[name] = header + members[name][128:]
  else:
    members[name] = mutate_bytes(rng, members[name])
  with zipfile.ZipFile(path, 'w', compression=int(rng.choice(
      [0, 8, 8, 12, 14]))) as archive:
    for name, data in members.items():
      archive.writestr(name, data)


def _mutate_json(rng: np.random.Generator, path: str):
  """Changes, removes or adds one value of a JSON file."""
  with open(path, encoding='utf-8') as file:
    content = json.load(file)
  places: list = []

  def visit(node):
    for key in (node if isinstance(node, dict) else range(len(node))):
      places.append((node, key))
      if isinstance(node[key], (dict, list)):
        visit(node[key])
  visit(content)
  node, key = places[rng.integers(len(places))]
  kind = int(rng.integers(4))
  if kind == 0:
    del node[key]
  elif kind == 1:
    node[key] = _TEXTS[rng.integers(len(_TEXTS))]
  elif kind == 2:
    values = [None, True, -1, 2**70, 1e308, 1.5, [], {}, [[]], [0], ['-1'],
              {'x': {}}, '99999999999', '4', '0']
    node[key] = values[rng.integers(len(values))]
  else:
    other, source = places[rng.integers(len(places))]
    node[key] = json.loads(json.dumps(other[source]))
  with open(path, 'w', encoding='utf-8') as file:
    json.dump(content, file)


def mutate_tfds(rng: np.random.Generator, path: str):
  """Changes a TFDS dataset's descriptions, shards or records."""
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  names = sorted(os.listdir(path))
  shard = os.path.join(path, [n for n in names if '.tfrecord' in n][0])
  kind = rng.random()
  if kind < .35:
    _mutate_json(rng, os.path.join(path, str(rng.choice(
        [name for name in names if name.endswith('.json')]))))
  elif kind < .6:
    _mutate_file(rng, os.path.join(path, names[rng.integers(len(names))]))
  elif kind < .9:  # Records with valid checksums.
    records = list(tf.data.TFRecordDataset(shard).as_numpy_iterator())
    at = int(rng.integers(len(records)))
    records[at] = mutate_bytes(rng, records[at])
    if rng.random() < .1:
      del records[at]
    with tf.io.TFRecordWriter(shard) as writer:
      for record in records:
        writer.write(record)
  else:
    victim = os.path.join(path, names[rng.integers(len(names))])
    os.remove(victim)
    if rng.random() < .5:
      os.mkdir(victim)
    elif rng.random() < .5:
      os.mkfifo(victim)


def mutate_episodes(rng: np.random.Generator, episodes: list) -> object:
  """Returns episodes with one odd value somewhere."""
  values = odd_values(rng)
  odd = values[rng.integers(len(values))]
  episodes = [dict(episode) for episode in episodes]
  episode = episodes[rng.integers(len(episodes))]
  name = list(episode)[rng.integers(len(episode))]
  kind = int(rng.integers(7))
  if kind == 0:
    return odd
  if kind == 1:
    episodes[rng.integers(len(episodes))] = odd
  elif kind == 2:
    del episode[name]
  elif kind == 3:
    episode[name] = {'a': episode[name], 'b': odd}
  elif kind == 4 and isinstance(episode[name], np.ndarray):
    column = episode[name].astype(np.float64)
    column.flat[rng.integers(column.size)] = rng.choice(
        [np.nan, np.inf, 1e19, -1e300, 3., 1e7])
    episode[name] = column
  elif kind == 5 and isinstance(episode[name], np.ndarray):
    episode[name] = episode[name][..., :rng.integers(2)]
  else:
    episode[name] = odd
  return episodes
