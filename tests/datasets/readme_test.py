"""Every piece of Python in `datasets/README.md` runs."""

import pathlib
import re
import shutil

import acme_msg
import numpy as np
import pytest
import writing

_README = pathlib.Path(acme_msg.__file__).parent / 'datasets' / 'README.md'
_BLOCKS = re.findall(
    r'^```python\n(.*?)^```$', _README.read_text(), re.M | re.S)


@pytest.fixture
def published(tmp_path, monkeypatch, episodes):
  """Writes small datasets to the places that the page names."""
  for variable, folder in (
      ('D4RL_DATASET_DIR', 'd4rl'), ('TFDS_DATA_DIR', 'tfds'),
      ('MINARI_DATASETS_PATH', 'minari')):
    monkeypatch.setenv(variable, str(tmp_path / folder))
  monkeypatch.chdir(tmp_path)
  many = episodes * 8
  (tmp_path / 'd4rl').mkdir()
  shutil.move(writing.WRITERS['d4rl'](tmp_path, many),
              'd4rl/hopper_medium-v2.hdf5')
  sparse = [{**e, 'rewards': e['rewards'] > 0} for e in episodes]
  shutil.move(writing.WRITERS['rlds'](tmp_path, sparse),
              'tfds/d4rl_antmaze/umaze-v0/1.1.0')
  writing.WRITERS['minari'](tmp_path, episodes)
  shutil.move('minari/mine-test-v0', 'minari/door-human-v1')
  path = writing.WRITERS['ogbench'](tmp_path, episodes)
  with np.load(path) as file:
    np.savez('pointmaze-large-navigate-v0.npz', **{
        name: file[name] for name in ('observations', 'actions', 'terminals')})


@pytest.mark.parametrize('block', _BLOCKS)
def test_it_works(block, published, capsys):
  del published
  names = {}
  exec(compile(block, str(_README), 'exec'), names)  # pylint: disable=exec-used
  if 'transitions' in names:
    assert len(names['transitions'].reward) >= 12
  elif 'arrays' in names:
    assert len(names['arrays'].reward) == 328
    assert len(names['batch'].reward) == 256
    # A share is about half of 328.
    assert names['position']['epoch'] == 1
  elif 'identity' not in names:
    assert capsys.readouterr().out == '328\n'


def test_there_is_one_for_each_source():
  for part in ("find('hopper", "find('d4rl_antmaze/", "find('door-human",
               ".npz'", 'from_episodes(', 'DataOptions(', 'make_stream(',
               'make_resident_dataset('):
    assert sum(part in block for block in _BLOCKS) >= 1
