"""Tests of resident datasets and streams from each kind of source."""

import itertools

from acme_msg import datasets
from acme_msg.datasets import delivery
from acme_msg.datasets.delivery import server
from acme_msg.datasets.delivery import store
import numpy as np
import pytest
import recorded

_SIZE = 5000
_DATASET = recorded.make_dataset(_SIZE, breaks=range(0, _SIZE, 97))


@pytest.fixture(name='make_source', scope='module',
                params=['arrays', 'blocks', 'memory', 'disk', 'server'])
def _make_source(request):
  served = server.Server(store.MemoryStore(_DATASET), num_readers=2)
  yield {'arrays': lambda: _DATASET,
         'blocks': lambda: iter([_DATASET]),
         'memory': lambda: store.MemoryStore(_DATASET),
         'disk': lambda: store.DiskStore([_DATASET]),
         'server': lambda: served}[request.param]
  served.stop()


def test_resident_datasets_are_the_same_from_everywhere(make_source):
  found = delivery.make_resident_dataset(
      make_source(), reader=1, num_readers=2)
  recorded.assert_same_bits(found, _DATASET)


def test_streams_are_the_same_from_everywhere(make_source):
  def take(source):
    stream = delivery.make_stream(
        source, 100, reader=1, num_readers=2, seed=3, shuffle_buffer=1024)
    rows = recorded.rows(itertools.islice(stream, 60))
    statistics = stream.observation_statistics()
    stream.close()
    return rows, statistics

  found, wanted = take(make_source()), take(_DATASET)
  np.testing.assert_array_equal(found[0], wanted[0])
  np.testing.assert_allclose(found[1], wanted[1], rtol=1e-9)


def test_example_is_the_first_transition(make_source):
  source = make_source()
  if hasattr(source, 'example'):
    recorded.assert_same_bits(
        delivery.example(source), store.to_transition({
            name: column[:1]
            for name, column in store.to_columns(_DATASET).items()}))


def test_file_gives_what_its_transitions_give(path):
  source = datasets.find(path, 'antmaze-umaze-v2')
  arguments = (
      source, 'antmaze-umaze-v2', datasets.DataOptions(n_step=2), .5)
  dataset = datasets.load(*arguments)
  recorded.assert_same_bits(
      datasets.make_resident_dataset(datasets.transition_blocks(*arguments)),
      dataset)
  for seed in (0, 1):
    batches = datasets.make_stream(
        datasets.transition_blocks(*arguments), 2, seed=seed)
    again = datasets.make_stream(dataset, 2, seed=seed)
    for found, wanted in itertools.islice(zip(batches, again), 9):
      recorded.assert_same_bits(found, wanted)


def test_resident_dataset_in_memory_is_not_copied():
  found = delivery.make_resident_dataset(_DATASET)
  assert np.shares_memory(found.observation, _DATASET.observation)


def test_another_number_of_readers_is_refused():
  served = server.Server(store.MemoryStore(_DATASET), num_readers=2)
  for make in (lambda **kwargs: delivery.make_resident_dataset(
      served, **kwargs), lambda **kwargs: delivery.make_stream(
          served, 10, **kwargs)):
    with pytest.raises(ValueError, match='num_readers=3.* serves 2 readers'):
      make(num_readers=3)
  served.stop()
