"""Tests of the messages about invalid dataset files."""

import logging

from acme_msg.datasets import d4rl
from acme_msg.datasets import episodes
from acme_msg.datasets import loading
import h5py
import numpy as np
import pytest
import reading


def _set(name, index, value, dtype=np.float64):
  def change(rows):
    rows[name] = rows[name].astype(dtype)
    rows[name][index] = value
  return change


def _replace(name, value):
  def change(rows):
    rows[name] = value
  return change


_BROKEN = {
    'missing field': (
        lambda rows: rows.pop('rewards'),
        ["'rewards' is missing", 'actions, observations', 'rename or add it']),
    'no field at all': (
        lambda rows: rows.clear(),
        ["'observations' is missing", 'found nothing']),
    'group in place of a field': (
        lambda rows: rows.update({'actions/x': rows.pop('actions')}),
        ["'actions' is a group", 'a dataset at the root']),
    'fewer actions': (
        _replace('actions', np.zeros((8, 1))),
        ['different numbers of rows', 'actions 8', 'rewards 9', 'again']),
    'fewer timeouts': (
        _replace('timeouts', np.zeros(4, bool)),
        ['different numbers of rows', 'timeouts 4']),
    'flat observations': (
        _replace('observations', np.zeros(9)),
        ["'observations'", 'shape (9,)', 'expected [T, size]', 'reshape']),
    'images': (
        _replace('observations', np.zeros((9, 4, 4, 3))),
        ["'observations'", 'shape (9, 4, 4, 3)', 'expected [T, size]']),
    'wide rewards': (
        _replace('rewards', np.zeros((9, 2))),
        ["'rewards'", 'shape (9, 2)', 'expected [T]']),
    'scalar rewards': (
        _replace('rewards', 1.),
        ["'rewards'", 'shape ()', 'expected [T]']),
    'no rows': (
        lambda rows: rows.update({k: v[:0] for k, v in rows.items()}),
        ["'observations' is empty", 'shape (0, 2)', 'no step']),
    'no dimensions': (
        _replace('actions', np.zeros((9, 0))),
        ["'actions'", 'shape (9, 0)', 'size 0']),
    'text': (
        _replace('actions', np.array([[b'left']] * 9)),
        ["'actions'", '|S4', 'not a real number', 'float32']),
    'complex': (
        _replace('rewards', np.zeros(9, np.complex64)),
        ["'rewards'", 'complex64', 'not a real number']),
    'NaN': (
        _set('observations', (4, 1), np.nan),
        ["'observations' is nan at [4, 1]", '1 such values', 'remove']),
    'infinite reward': (
        _set('rewards', 2, -np.inf), ["'rewards' is -inf at [2]"]),
    'too large for float32': (
        _set('observations', (7, 0), 1e300),
        ["'observations' is 1e+300 at [7, 0]", 'not finite in float32']),
    'action out of bounds': (
        _set('actions', (5, 0), -1.5),
        ["'actions' is -1.5 at [5, 0]", 'outside [-1, 1]', 'rescale']),
    'flag of two': (
        _set('terminals', 6, 2, np.uint8),
        ["'terminals' is 2 at [6]", 'only 0 and 1']),
    'flag of NaN': (
        _set('timeouts', 3, np.nan, np.float32),
        ["'timeouts' is nan at [3]", 'only 0 and 1']),
    'timeouts everywhere': (
        _replace('timeouts', np.ones(9, bool)),
        ['no transition is left of 9 rows', 'timeouts']),
    'one row': (
        lambda rows: rows.update({k: v[:1] for k, v in rows.items()}),
        ['no transition is left of 1 rows']),
    'no timeouts, unknown task': (
        lambda rows: rows.pop('timeouts'),
        ["no field 'timeouts'", "'mine-v0'", 'episode_limit']),
}


@pytest.mark.parametrize('kind', _BROKEN)
def test_broken_content_is_named(tmp_path, rows, write_hdf5, kind):
  change, parts = _BROKEN[kind]
  change(rows)
  path = write_hdf5(tmp_path / 'broken.hdf5', rows)
  with pytest.raises(ValueError) as error:
    reading.load_d4rl(path, 'mine-v0')
  for part in [path, *parts]:
    assert part in str(error.value)


def test_every_truncation_is_noticed(tmp_path, rows, write_hdf5):
  big = {name: np.repeat(column, 200, axis=0) for name, column in rows.items()}
  whole = write_hdf5(tmp_path / 'whole.hdf5', big)
  with open(whole, 'rb') as file:
    content = file.read()
  path = tmp_path / 'cut.hdf5'
  for part in (.1, .5, .9, .999):
    path.write_bytes(content[:int(part * len(content))])
    with pytest.raises(ValueError, match='cut.hdf5: the HDF5 file is damaged'):
      reading.load_d4rl(str(path), 'hopper-medium-v0')


def test_damaged_data_names_the_field(tmp_path, rows):
  path = str(tmp_path / 'damaged.hdf5')
  with h5py.File(path, 'w') as file:
    for name, column in rows.items():
      file.create_dataset(name, data=column, compression='gzip')
    offset = file['rewards'].id.get_chunk_info(0).byte_offset
  with open(path, 'r+b') as file:
    file.seek(offset)
    file.write(b'\xff' * 8)
  with pytest.raises(ValueError, match="while reading the field 'rewards'"):
    reading.load_d4rl(path, 'hopper-medium-v0')


@pytest.mark.parametrize('content, parts', [
    (b'', ['0 bytes', 'again']),
    (b'<!DOCTYPE html><html>', ['not an HDF5 file', '<!DOCTYPE html>'])])
def test_other_files_are_refused(tmp_path, content, parts):
  path = tmp_path / 'other.hdf5'
  path.write_bytes(content)
  with pytest.raises(ValueError) as error:
    reading.load_d4rl(str(path), 'hopper-medium-v0')
  for part in [str(path), *parts]:
    assert part in str(error.value)


def test_absent_file(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.hdf5.*--dataset'):
    reading.load_d4rl(str(tmp_path / 'none.hdf5'), 'hopper-medium-v0')


def test_episode_limit_must_be_positive(tmp_path, rows, write_hdf5):
  rows.pop('timeouts')
  path = write_hdf5(tmp_path / 'old.hdf5', rows)
  with pytest.raises(ValueError, match='episode_limit=0'):
    reading.load_d4rl(path, 'hopper-medium-v0', episode_limit=0)


def test_action_slightly_out_of_bounds_is_warned_of_and_kept(
    tmp_path, rows, write_hdf5, caplog):
  rows['actions'][4] = 1.005
  path = write_hdf5(tmp_path / 'rounded.hdf5', rows)
  with caplog.at_level(logging.WARNING, 'absl'):
    found = reading.load_d4rl(path, 'hopper-medium-v0')
  assert found.action.max() == np.float32(1.005)
  assert "'actions' is 1.005" in caplog.text and path in caplog.text


def test_constant_reward_is_warned_of(tmp_path, rows, write_hdf5, caplog):
  rows['rewards'][:] = .25
  path = write_hdf5(tmp_path / 'constant.hdf5', rows)
  with caplog.at_level(logging.WARNING, 'absl'):
    reading.load_d4rl(path, 'hopper-medium-v0')
  assert "'rewards' is 0.25 in all of its 9 rows" in caplog.text


def test_good_file_gives_no_warning(path, caplog):
  with caplog.at_level(logging.WARNING, 'absl'):
    reading.load_d4rl(path, 'hopper-medium-v0')
  assert not caplog.records


def test_steps_without_a_transition_are_refused(path):
  steps = d4rl.D4rlSource(path, 'hopper-medium-v0').load_steps()
  alone = steps._replace(is_last=np.ones_like(steps.is_last))
  with pytest.raises(ValueError, match='no transition in the data'):
    loading.load(episodes.EpisodesSource(alone, 'alone'))
