"""Tests that equal data is recognised wherever it lies, and other data is not.

Each format is written by its own library.
"""

import os
import shutil

from acme_msg import datasets
import pytest
import writing

# The names that the libraries give to the datasets of `writing`.
_NAMES = {'d4rl': 'rows.hdf5', 'rlds': 'rlds', 'tfds': 'mine:1.2.0',
          'minari': 'mine-test-v0', 'ogbench': 'mine.npz'}


@pytest.mark.parametrize('kind', _NAMES)
def test_copies_are_equal_and_changes_are_seen(
    tmp_path, monkeypatch, episodes, kind):
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  found = datasets.identify(datasets.find(
      writing.WRITERS[kind](tmp_path, episodes)))
  path = found['path']
  assert found['name'] == _NAMES[kind]
  files = [os.path.join(folder, name) for folder, _, names in os.walk(path)
           for name in names] or [path]
  assert found['size_bytes'] == sum(map(os.path.getsize, files))

  other = str(tmp_path / 'elsewhere' / os.path.basename(path))
  copy = shutil.copytree if os.path.isdir(path) else shutil.copy
  os.mkdir(tmp_path / 'elsewhere')
  copy(path, other)

  def digest():
    return datasets.identify(datasets.find(other))['digest']

  assert digest() == found['digest']
  if os.path.isdir(other):
    open(os.path.join(other, '.hidden'), 'w').close()
    assert digest() == found['digest']
    open(os.path.join(other, 'more'), 'w').close()
    assert digest() != found['digest']
    os.remove(os.path.join(other, 'more'))
  for file in files:
    if os.path.isdir(path):
      file = os.path.join(other, os.path.relpath(file, path))
    else:
      file = other
    for position in (0, os.path.getsize(file) - 1):
      with open(file, 'r+b') as f:
        f.seek(position)
        byte = f.read(1)
        f.seek(position)
        f.write(bytes([byte[0] ^ 1]))
        f.flush()
        if not file.endswith('.json'):
          assert digest() != found['digest'], (file, position)
        f.seek(position)
        f.write(byte)
  assert digest() == found['digest']


def test_large_file_is_sampled_at_equal_distances(tmp_path):
  """A sparse file of 8 GiB; as stated in datasets/README.md."""
  path = str(tmp_path / 'large.hdf5')
  with open(path, 'wb') as f:
    f.truncate(2**33)
  source = datasets.find(path)
  found = datasets.identify(source)
  for position, is_seen in (
      (0, True), (2**33 - 2**24, True), (7 * 2**24 + 2**16 - 1, True),
      (7 * 2**24 + 2**16, False)):
    with open(path, 'r+b') as f:
      f.seek(position)
      f.write(b'x')
    assert (datasets.identify(source) != found) == is_seen
    with open(path, 'r+b') as f:
      f.seek(position)
      f.write(b'\0')
  os.truncate(path, 2**33 - 1)
  assert datasets.identify(source)['digest'] != found['digest']


def test_options_of_a_source_belong_to_it(tmp_path, episodes):
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  assert datasets.identify(datasets.find(path))['goal'] is None
  assert datasets.identify(
      datasets.find(path, goal=(1., 2.)))['goal'] == [1., 2.]


def test_episodes_in_memory_have_a_name_alone(
    tmp_path, monkeypatch, episodes):
  monkeypatch.chdir(tmp_path)
  os.mkdir('mine')  # Is something else.
  assert datasets.identify(datasets.from_episodes(episodes, 'mine')) == {
      'kind': 'episodes', 'name': 'mine'}
