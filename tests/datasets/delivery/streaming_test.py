"""Tests of shuffled epochs, from this process and through a real Reverb."""

import contextlib
import itertools
import multiprocessing
import threading

from acme import types
from acme_msg.datasets.delivery import make
from acme_msg.datasets.delivery import serving
from acme_msg.datasets.delivery import store
from acme_msg.datasets.delivery import streaming
import numpy as np
import pytest


def _make_dataset(size):
  """Transitions whose reward is their row."""
  observation = np.arange(2 * size + 2, dtype=np.float32).reshape(-1, 2)
  action = np.linspace(-1, 1, size + 1, dtype=np.float32)[:, None]
  return types.Transition(
      observation[:-1], action[:-1], np.arange(size, dtype=np.float32),
      np.ones(size, np.float32), observation[1:], {'next_action': action[1:]})


def _stream(size, batch_size, seed=0, shard=(0, 1), **kwargs):
  order = streaming.Order(size, seed, *shard)
  return streaming.Stream(
      streaming.open_locally(store.MemoryStore(_make_dataset(size)), order),
      order, batch_size, **kwargs)


def _rows(batches):
  return np.concatenate([batch.reward for batch in batches]).astype(int)


@pytest.mark.parametrize('num_shards', [1, 3])
@pytest.mark.parametrize('size', [100, 12_000, 16_385])
def test_each_transition_comes_once_in_each_epoch(size, num_shards):
  readers = [
      list(_stream(size, 70, shard=(i, num_shards), num_epochs=2,
                   shuffle_buffer=6000)) for i in range(num_shards)]
  for batches in readers:
    assert all(len(batch.reward) == 70 for batch in batches[:-1])
  np.testing.assert_array_equal(
      np.bincount(np.concatenate([_rows(r) for r in readers])),
      np.full(size, 2))
  # One after the other: the first epoch ends before the second begins.
  if num_shards == 1:
    np.testing.assert_array_equal(
        np.sort(_rows(readers[0])[:size]), np.arange(size))


def test_columns_stay_together():
  whole = _make_dataset(12_000)
  for batch in itertools.islice(_stream(12_000, 64, shuffle_buffer=4096), 300):
    rows = batch.reward.astype(int)
    np.testing.assert_array_equal(batch.observation, whole.observation[rows])
    np.testing.assert_array_equal(batch.action, whole.action[rows])
    np.testing.assert_array_equal(
        batch.next_observation, whole.next_observation[rows])
    np.testing.assert_array_equal(
        batch.extras['next_action'], whole.extras['next_action'][rows])


def test_order_follows_from_seed_and_epoch():
  take = lambda seed: _rows(_stream(2000, 500, seed, num_epochs=2))
  np.testing.assert_array_equal(take(0), take(0))
  assert (take(0) != take(1)).mean() > .9
  first, second = np.split(take(0), 2)
  assert (first != second).mean() > .9


def test_shuffle_is_good_enough():
  """Batches from a slowly changing dataset vary little more than random ones.

  The mean of B values drawn at random has the variance v / B. Whole chunks of
  1,000 neighbours in pools of 40 would give about v / B + v / 40: seven times
  that for B=256. Runs of 32 in pools of 40,000 add v / 1,250, a fifth of it.
  """
  size, batch_size = 200_000, 256
  means = [
      batch.reward.mean() for batch in
      _stream(size, batch_size, num_epochs=2, shuffle_buffer=40_000)]
  ratio = np.var(means) / (size ** 2 / 12 / batch_size)
  # 1,562 batches; the standard deviation of their ratio is about 0.04.
  assert .85 < ratio < 1.45
  # Nor does a place in the epoch tell the place in the dataset.
  rows = _rows(_stream(size, 1000, num_epochs=1, shuffle_buffer=40_000))
  assert abs(np.corrcoef(rows, np.arange(size))[0, 1]) < .02
  # Neighbours of the dataset rarely meet again side by side.
  assert np.mean(np.abs(np.diff(rows)) < streaming.RUN_LENGTH) < .005


@pytest.mark.parametrize('taken', [1, 20, 43, 44, 90])
def test_restored_stream_goes_on(taken):
  # 43.9 batches in an epoch; three pools.
  make = lambda: _stream(12_300, 280, shuffle_buffer=4096)
  whole = make()
  batches = list(itertools.islice(whole, taken))
  position = whole.save()
  after = _rows(itertools.islice(whole, 50))
  again = make()
  again.restore(position)
  np.testing.assert_array_equal(_rows(itertools.islice(again, 50)), after)
  assert len(batches) == taken


def test_position_says_what_it_does_not_fit():
  stream = _stream(3000, 70)
  next(stream)
  position = stream.save()
  for other, message in [
      (_stream(2999, 70), 'num_transitions=3000.*num_transitions=2999'),
      (_stream(3000, 70, seed=1), 'seed=0.*seed=1')]:
    with pytest.raises(ValueError, match=message):
      other.restore(position)
  with pytest.raises(RuntimeError, match='before its first batch'):
    stream.restore(position)


def test_another_number_of_readers_begins_the_epoch_anew():
  stream = _stream(3000, 70)
  list(itertools.islice(stream, 50))
  position = stream.save()
  assert position['epoch'] == 1 and position['row'] > 0
  other = _stream(3000, 70, shard=(1, 2))
  other.restore(position)
  assert (other.save()['epoch'], other.save()['row']) == (1, 0)


@pytest.mark.parametrize('kwargs, message', [
    (dict(batch_size=0), 'batch_size=0'),
    (dict(batch_size=1, num_epochs=0), 'num_epochs=0'),
    (dict(batch_size=1, shuffle_buffer=0), 'shuffle_buffer=0'),
    (dict(batch_size=1, shard=(2, 2)), 'shard_index=2.*num_shards=2'),
    (dict(batch_size=1, shard=(0, 100)), 'num_shards=100 is too many')])
def test_bad_arguments_are_refused(kwargs, message):
  with pytest.raises(ValueError, match=message):
    _stream(1000, **kwargs)


def test_failure_of_the_source_reaches_the_reader():
  def fail(epoch, item):
    raise OSError(f'no item {item} of epoch {epoch}')
    yield

  with pytest.raises(OSError, match='no item 0 of epoch 0'):
    next(streaming.Stream(fail, streaming.Order(100, 0), 10))


# Through a server.

_READERS = ('learner_0', 'learner_1')
_SIZE = 20_000


@pytest.fixture(name='server')
def _server():
  server = serving.ChunkServer(
      store.MemoryStore(_make_dataset(_SIZE)), _READERS)
  yield server
  server.stop()


def _remote(server, reader, batch_size=128):
  def open_items(epoch, item):
    server.open_stream(reader, 0, epoch, item)
    return serving.Receiver(server.address, reader)

  order = streaming.Order(
      server.num_transitions(), 0, _READERS.index(reader), len(_READERS))
  return streaming.Stream(open_items, order, batch_size, shuffle_buffer=4096)


def test_server_gives_what_the_dataset_gives(server):
  for index, reader in enumerate(_READERS):
    remote = _remote(server, reader)
    local = _stream(_SIZE, 128, shard=(index, 2), shuffle_buffer=4096)
    np.testing.assert_array_equal(
        _rows(itertools.islice(remote, 200)),
        _rows(itertools.islice(local, 200)))
    remote.close()


def test_nothing_is_lost_or_doubled_when_a_reader_comes_back(server):
  """Two readers; one is gone twice, once in mid-epoch and once in the next."""
  steady, shaky = (_remote(server, reader) for reader in _READERS)
  seen = [_rows(itertools.islice(steady, 160))]
  for taken in (30, 57, 73):
    seen.append(_rows(itertools.islice(shaky, taken)))
    position = shaky.save()
    shaky.close()
    shaky = _remote(server, 'learner_1')
    shaky.restore(position)
  steady.close()
  # Each has seen 160 batches of 128 of its 10,000 transitions.
  counts = np.bincount(np.concatenate(seen), minlength=_SIZE)
  assert set(counts) == {2, 3}
  assert (counts == 3).sum() == 2 * 160 * 128 - 2 * _SIZE


class _Node:
  """A server as another process calls it."""

  def __init__(self, calls):
    self._calls = calls

  def __getattr__(self, method):
    def call(*args):
      self._calls.send((method, args))
      return self._calls.recv()
    return call


def _learn(calls, batches, position):
  """Takes batches as a learner does that saves after each of them."""
  stream = make.make_dataset(
      _Node(calls), batch_size=128, shard_index=1, num_shards=2,
      shuffle_buffer=4096)
  if position is not None:
    stream.restore(position)
  for batch in stream:
    batches.send((batch.reward.astype(int), stream.save()))


def _start_learner(server, position):
  """Starts `_learn` in a process; returns it and where its batches come."""
  context = multiprocessing.get_context('spawn')
  batches, remote_batches = context.Pipe()
  calls, remote_calls = context.Pipe()
  learner = context.Process(
      target=_learn, args=(remote_calls, remote_batches, position))
  learner.start()

  def answer():
    with contextlib.suppress(EOFError, OSError):
      while True:
        method, args = calls.recv()
        calls.send(getattr(server, method)(*args))

  threading.Thread(target=answer, daemon=True).start()
  return learner, batches


def test_nothing_is_lost_or_doubled_when_a_learner_is_killed(server):
  """Its process is killed twice, and goes on where it last saved."""
  steady = _remote(server, 'learner_0')
  seen = [_rows(itertools.islice(steady, 160))]
  position = None
  for taken in (50, 70, 40):
    learner, batches = _start_learner(server, position)
    for _ in range(taken):
      rows, position = batches.recv()
      seen.append(rows)
    learner.kill()
    learner.join()
  steady.close()
  counts = np.bincount(np.concatenate(seen), minlength=_SIZE)
  assert set(counts) == {2, 3}
  assert (counts == 3).sum() == 2 * 160 * 128 - 2 * _SIZE


def test_another_process_at_the_same_table_is_noticed(server):
  stream = _remote(server, 'learner_0')
  next(stream)
  list(itertools.islice(
      serving.Receiver(server.address, 'learner_0'), 3))
  with pytest.raises(RuntimeError, match='another process reads'):
    list(itertools.islice(stream, 2000))
