"""Tests of packing and unpacking chunks of transitions."""

from acme_msg.datasets.delivery import chunks
from acme_msg.datasets.delivery import store
import numpy as np
import pytest
import recorded


def _pack(dataset):
  return list(chunks.pack_resident(store.MemoryStore(dataset)))


def _unpack(parts, size, **kwargs):
  return store.to_transition(chunks.unpack(
      iter(parts), chunks.resident_headers(size), size, **kwargs))


@pytest.mark.parametrize('next_action', [False, True])
@pytest.mark.parametrize('size', [1, 4096, 10_000])
def test_unpack_inverts_pack(size, next_action):
  dataset = recorded.make_dataset(size, [0, size // 2], next_action)
  seen = []
  found = _unpack(
      _pack(dataset), size, progress=lambda *done: seen.append(done))
  recorded.assert_same_bits(found, dataset)
  wanted = [1] if size == 1 else [4096, 8192, 10_000][:-(-size // 4096)]
  assert seen == [(stop, size) for stop in wanted]


def test_signed_zeros_survive():
  dataset = recorded.make_dataset(20)
  dataset.observation[5] = 0.
  dataset.next_observation[4] = -0.
  found = _unpack(_pack(dataset), 20)
  assert np.signbit(found.next_observation[4]).all()
  assert not np.signbit(found.observation[5]).any()


def test_only_odd_rows_are_carried():
  dataset = recorded.make_dataset(10_000, breaks=[3, 4098])
  first, second, third = _pack(dataset)
  np.testing.assert_array_equal(first['odd'], [3, 4095])
  np.testing.assert_array_equal(second['odd'], [2, 4095])
  np.testing.assert_array_equal(third['odd'], [1807])
  np.testing.assert_array_equal(
      second['next_observation'], dataset.next_observation[[4098, 8191]])
  np.testing.assert_array_equal(
      second['next_action'],
      dataset.extras['next_action'][[4098, 8191]])
  np.testing.assert_array_equal(second['header'], [0, 1, 10_000])


@pytest.mark.parametrize('order, message', [
    ([0, 2], 'expected chunk 1 .* received chunk 2 '),
    ([0, 1, 1], 'expected chunk 2 .* received chunk 1 '),
    ([1, 2], 'expected chunk 0 .* received chunk 1 ')])
def test_each_chunk_must_come_once_and_in_order(order, message):
  parts = _pack(recorded.make_dataset(10_000))
  with pytest.raises(RuntimeError, match=message + '.* another process reads'):
    _unpack([parts[i] for i in order], 10_000)


def test_chunks_of_two_datasets_do_not_mix():
  first = _pack(recorded.make_dataset(10_000))
  second = _pack(recorded.make_dataset(10_001))
  with pytest.raises(RuntimeError, match='of 10000 .* received .* of 10001'):
    _unpack([first[0], second[1]], 10_000)
