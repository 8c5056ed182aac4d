"""Tests of the one way to datasets, from arrays, stores and nodes."""

import itertools

from acme import types
from acme_msg.datasets.delivery import make
from acme_msg.datasets import loading
from acme_msg.datasets.delivery import serving
from acme_msg.datasets import sources
from acme_msg.datasets.delivery import store
import jax
import numpy as np
import pytest


def _dataset():
  observation = np.arange(5001, dtype=np.float32)[:, None]
  return types.Transition(
      observation[:-1], observation[:-1] / 5000, observation[:-1, 0],
      np.ones(5000, np.float32), observation[1:],
      {'next_action': observation[1:] / 5000})


@pytest.fixture(name='source', params=['arrays', 'memory', 'disk', 'node'])
def _source(request):
  if request.param == 'arrays':
    yield _dataset()
  elif request.param == 'memory':
    yield store.MemoryStore(_dataset())
  elif request.param == 'disk':
    yield store.DiskStore([_dataset()])
  else:
    server = serving.ChunkServer(store.MemoryStore(_dataset()), ['a', 'b'])
    yield server
    server.stop()


def test_whole_dataset_is_on_the_device(source):
  found = make.make_dataset(source, shard_index=1, num_shards=2)
  for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(_dataset())):
    assert isinstance(x, jax.Array)
    np.testing.assert_array_equal(x, y)


def test_batches_are_the_same_from_everywhere(source):
  take = lambda source: np.stack([
      batch.reward for batch in itertools.islice(make.make_dataset(
          source, batch_size=100, shard_index=1, num_shards=2, seed=3,
          shuffle_buffer=1024), 60)])
  np.testing.assert_array_equal(take(source), take(_dataset()))


def test_shards_make_up_each_epoch():
  rows = np.concatenate([
      batch.reward for shard in range(3) for batch in make.make_dataset(
          _dataset(), batch_size=64, shard_index=shard, num_shards=3,
          num_epochs=1)])
  np.testing.assert_array_equal(np.sort(rows), np.arange(5000))


@pytest.mark.parametrize('as_name', [True, False])
def test_file_gives_what_its_transitions_give(path, as_name):
  source = path if as_name else sources.find(path, 'antmaze-umaze-v2')
  options = loading.DataOptions(n_step=2)
  arguments = dict(
      task_name='antmaze-umaze-v2', options=options, on_device=False)
  wanted = sources.load(
      sources.find(path), 'antmaze-umaze-v2', options, discount=.5)
  whole = make.make_dataset(source, discount=.5, **arguments)
  jax.tree.map(np.testing.assert_array_equal, whole, wanted)
  for seed in (0, 1):
    batches = make.make_dataset(
        source, discount=.5, batch_size=2, num_epochs=1, seed=seed, **arguments)
    again = make.make_dataset(wanted, batch_size=2, num_epochs=1, seed=seed)
    for found, batch in zip(batches, again, strict=True):
      jax.tree.map(np.testing.assert_array_equal, found, batch)


def test_whole_dataset_as_numpy_arrays_is_no_copy():
  dataset = _dataset()
  found = make.make_dataset(dataset, on_device=False)
  assert np.shares_memory(found.observation, dataset.observation)


def test_node_for_another_number_of_readers_is_refused():
  server = serving.ChunkServer(store.MemoryStore(_dataset()), ['a', 'b'])
  with pytest.raises(ValueError, match='num_shards=3.*2 readers: a, b'):
    make.make_dataset(server, num_shards=3)
  server.stop()
