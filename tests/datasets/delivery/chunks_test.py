"""Tests of cutting datasets into chunks."""

from acme import types
from acme_msg.datasets.delivery import chunks
from acme_msg.datasets.delivery import store
import numpy as np
import pytest


def _make_dataset(size, breaks=(), next_action=True, seed=0):
  """Recorded rows in which some transitions are not followed by the next."""
  rng = np.random.default_rng(seed)
  observation = rng.standard_normal((size + 1, 3)).astype(np.float32)
  action = rng.uniform(-1, 1, (size + 1, 2)).astype(np.float32)
  following, later = observation[1:].copy(), action[1:].copy()
  following[list(breaks)] += 1
  later[list(breaks)] *= -1
  return types.Transition(
      observation[:-1].copy(), action[:-1].copy(),
      rng.standard_normal(size).astype(np.float32),
      (rng.random(size) < .9).astype(np.float32), following,
      {'next_action': later} if next_action else ())


def _assert_same_bits(a, b):
  assert bool(a.extras) == bool(b.extras)
  leaves = list(zip(a[:5], b[:5]))
  if a.extras:
    leaves.append((a.extras['next_action'], b.extras['next_action']))
  for x, y in leaves:
    assert x.dtype == y.dtype and x.shape == y.shape
    assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize('next_action', [False, True])
@pytest.mark.parametrize('size, chunk_size', [(1, 10), (30, 10), (37, 10)])
def test_join_inverts_split(size, chunk_size, next_action):
  dataset = _make_dataset(size, [0, size // 2], next_action)
  joined = chunks.join(
      chunks.split(store.MemoryStore(dataset), chunk_size, session=7))
  _assert_same_bits(joined, dataset)


def test_signed_zeros_survive():
  dataset = _make_dataset(20)
  dataset.observation[5] = 0.
  dataset.next_observation[4] = -0.
  joined = chunks.join(chunks.split(store.MemoryStore(dataset), 20, session=7))
  assert np.signbit(joined.next_observation[4]).all()
  assert not np.signbit(joined.observation[5]).any()


def test_only_odd_successors_are_carried():
  dataset = _make_dataset(30, breaks=[3, 12])
  first, second, third = chunks.split(store.MemoryStore(dataset), 10, session=7)
  np.testing.assert_array_equal(first['odd'], [3, 9])
  np.testing.assert_array_equal(second['odd'], [2, 9])
  np.testing.assert_array_equal(third['odd'], [9])
  np.testing.assert_array_equal(
      second['next_observation'], dataset.next_observation[[12, 19]])
  np.testing.assert_array_equal(second['header'], [7, 1, 3, 10, 30])


def test_progress_counts_rows():
  seen = []
  chunks.join(chunks.split(store.MemoryStore(_make_dataset(25)), 10, session=7),
              lambda rows, total: seen.append((rows, total)))
  assert seen == [(10, 25), (20, 25), (25, 25)]


@pytest.mark.parametrize('order, message', [
    ([0, 2], 'chunk 2 of 3 .* where chunk 1 was due'),
    ([0, 1, 1], 'chunk 1 of 3 .* where chunk 2 was due'),
    ([1, 2], 'chunk 1 of 3 .* where chunk 0 was due')])
def test_each_chunk_must_come_once_and_in_order(order, message):
  parts = list(
      chunks.split(store.MemoryStore(_make_dataset(30)), 10, session=7))
  with pytest.raises(RuntimeError, match=message):
    chunks.join(iter([parts[i] for i in order]))


def test_chunks_of_two_passes_do_not_mix():
  held = store.MemoryStore(_make_dataset(30))
  first = list(chunks.split(held, 10, session=7))
  second = list(chunks.split(held, 10, session=8))
  with pytest.raises(RuntimeError, match='another pass.*opened again'):
    chunks.join(iter([first[0], second[1]]))
