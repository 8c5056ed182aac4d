"""Tests of conversions: complete, equal, or absent."""

import os
import signal
import subprocess
import sys

from acme_msg import atomic_files
from acme_msg import datasets
from acme_msg.datasets import convert
import numpy as np
import pytest
import writing


@pytest.fixture(autouse=True)
def only_here(tmp_path, monkeypatch):
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))


def _columns(source):
  found = datasets.load(source)
  return (*found[:4], found.extras['next_action'],
          found.next_observation * found.discount[:, None])


@pytest.mark.parametrize('kind', writing.WRITERS)
def test_transitions_stay_the_same(kind, tmp_path, stored):
  source = stored(kind)
  convert.convert(source, str(tmp_path / 'new_rlds'))
  convert.convert(source, str(tmp_path / 'new.hdf5'))
  convert.convert(datasets.find(str(tmp_path / 'new.hdf5')),
                  str(tmp_path / 'back'))
  for name in ('new_rlds', 'new.hdf5', 'back'):
    for a, b in zip(_columns(datasets.find(str(tmp_path / name))),
                    _columns(source), strict=True):
      np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('name', ['new', 'new.hdf5'])
def test_blocks_do_not_show(name, tmp_path, episodes):
  source = datasets.from_episodes(episodes)

  class Blocks(type(source)):
    def blocks(self, num_rows=3):
      return super().blocks(3)

  source.__class__ = Blocks
  convert.convert(source, str(tmp_path / name))
  for a, b in zip(_columns(datasets.find(str(tmp_path / name))),
                  _columns(datasets.from_episodes(episodes))):
    np.testing.assert_array_equal(a, b)


# The process kills itself after it has written a part of the dataset.
_BROKEN_OFF = '''
import os, signal, sys
from acme_msg.datasets import convert, sources
class Dying(type(sources.find(sys.argv[1]))):
  def blocks(self, num_rows=0):
    yield from super().blocks(4)
    os.kill(os.getpid(), signal.SIGKILL)
convert.convert(Dying(sys.argv[1]), sys.argv[2])
'''


@pytest.mark.parametrize('name', ['new', 'new.hdf5'])
def test_what_a_killed_conversion_leaves_is_recognised(
    name, tmp_path, path, caplog):
  target = str(tmp_path / 'here' / name)
  done = subprocess.run(
      [sys.executable, '-c', _BROKEN_OFF, path, target], check=False)
  assert done.returncode == -signal.SIGKILL
  left, = os.listdir(tmp_path / 'here')
  left = str(tmp_path / 'here' / left)
  assert atomic_files.is_partial(left) and not atomic_files.is_partial(target)
  with pytest.raises(ValueError, match='broken off.*remove it'):
    datasets.find(left)
  with pytest.raises(FileNotFoundError):
    datasets.find(target)
  convert.convert(datasets.find(path), target)
  assert left in caplog.text and 'remove it' in caplog.text
  assert os.path.exists(left)  # It may belong to another process.
  assert len(datasets.load(datasets.find(target)).reward) == 6


def test_what_tfds_leaves_is_recognised(tmp_path):
  folder = tmp_path / '1.0.0.incompleteA1B2C3'
  folder.mkdir()
  (folder / 'dataset_info.json').write_text('{}')
  with pytest.raises(ValueError, match='broken off'):
    datasets.find(str(folder))


def test_command_converts_and_refuses_to_overwrite(tmp_path, path):
  command = [sys.executable, '-m', 'acme_msg.datasets.convert', path,
             str(tmp_path / 'new.hdf5')]
  subprocess.run(command, check=True)
  assert len(datasets.load(datasets.find(command[-1])).reward) == 6
  again = subprocess.run(command, capture_output=True, text=True, check=False)
  assert again.returncode == 1
  assert 'Nothing was converted' in again.stderr
  assert 'new.hdf5 exists' in again.stderr
