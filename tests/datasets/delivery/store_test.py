"""Tests of stores of transitions."""

import tempfile

from acme import types
from acme_msg.datasets.delivery import store
import numpy as np
import pytest


def _make_dataset(size, next_action=True):
  """Returns transitions whose numbers each tell their row and column."""
  column = lambda tag, width: (
      tag + np.arange(size)[:, None] + np.arange(width) / 100
  ).astype(np.float32)
  return types.Transition(
      column(1000, 3), column(2000, 2), column(3000, 1)[:, 0],
      column(4000, 1)[:, 0], column(5000, 3),
      {'next_action': column(6000, 2)} if next_action else ())


def _blocks(dataset, *sizes):
  columns = store.to_columns(dataset)
  start = 0
  for size in sizes:
    yield store.to_transition(
        {name: column[start:start + size] for name, column in columns.items()})
    start += size


@pytest.fixture(name='dataset', params=[True, False])
def _dataset(request):
  return _make_dataset(100, next_action=request.param)


@pytest.fixture(name='make_store', params=['memory', 'disk'])
def _make_store(request):
  if request.param == 'memory':
    return store.MemoryStore
  return lambda dataset: store.DiskStore(_blocks(dataset, 30, 1, 69))


def test_reads_slices(make_store, dataset):
  held = make_store(dataset)
  assert held.num_transitions() == 100
  wanted = store.to_columns(dataset)
  for starts, length, rows in [
      ([0], 100, range(100)),
      ([29], 3, [29, 30, 31]),
      ([98], 3, [98, 99]),
      # The last slice ends early.
      ([50, 4, 98], 3, [50, 51, 52, 4, 5, 6, 98, 99])]:
    found = held.read(np.array(starts), length)
    assert found.keys() == wanted.keys()
    for name, column in found.items():
      assert column.dtype == np.float32
      np.testing.assert_array_equal(column, wanted[name][list(rows)], name)


def test_statistics_are_those_of_numpy(make_store, dataset):
  mean, deviation = make_store(dataset).observation_statistics()
  np.testing.assert_allclose(
      mean, dataset.observation.mean(axis=0, dtype=np.float64), rtol=1e-12)
  np.testing.assert_allclose(
      deviation, dataset.observation.std(axis=0, dtype=np.float64), rtol=1e-9)


def test_disk_store_names_what_does_not_fit_together():
  with pytest.raises(ValueError, match='after 5 transitions of .*next_action'):
    store.DiskStore([_make_dataset(5), _make_dataset(5, next_action=False)])
  with pytest.raises(ValueError, match="'reward', '<f8'"):
    store.DiskStore([
        _make_dataset(5), _make_dataset(5)._replace(reward=np.zeros(5))])
  with pytest.raises(ValueError, match='no transition'):
    store.DiskStore([])


def test_full_disk_is_reported(monkeypatch):
  # A device that is always full.
  monkeypatch.setattr(
      tempfile, 'TemporaryFile', lambda **_: open('/dev/full', 'wb'))
  with pytest.raises(OSError, match='No space left.*TMPDIR'):
    store.DiskStore(_make_dataset(10_000) for _ in range(10))


@pytest.mark.parametrize('change, message', [
    (dict(reward=np.zeros(9, np.float32)), "lengths.*'reward': 9"),
    (dict(extras={'mass': np.zeros(10)}), r"\['mass'\]"),
    ({name: np.zeros((0, 1)) for name in (
        'observation', 'action', 'reward', 'discount', 'next_observation')},
     'not 0')])
def test_malformed_dataset_is_refused(change, message):
  dataset = _make_dataset(10, next_action=False)._replace(**change)
  with pytest.raises(ValueError, match=message):
    store.MemoryStore(dataset)
