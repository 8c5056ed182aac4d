"""Tests of shuffled epochs, from this process and through a real Reverb."""

import contextlib
import itertools
import multiprocessing
import threading
import zlib

from acme_msg.datasets import delivery
from acme_msg.datasets.delivery import chunks
from acme_msg.datasets.delivery import server as servers
from acme_msg.datasets.delivery import store
import numpy as np
import pytest
import recorded


@contextlib.contextmanager
def _stream(source, batch_size, reader=0, num_readers=1, position=None,
            **kwargs):
  """Opens a stream, of a server or of recorded transitions."""
  if isinstance(source, int):
    source = recorded.make_dataset(source)
  stream = delivery.make_stream(
      source, batch_size, reader=reader, num_readers=num_readers, **kwargs)
  if position is not None:
    stream.restore(position)
  with contextlib.closing(stream):
    yield stream


def _rows(source, num_batches, *args, **kwargs):
  """Returns the first rows of a stream."""
  with _stream(source, *args, **kwargs) as stream:
    return recorded.rows(itertools.islice(stream, num_batches))


@pytest.mark.parametrize('num_readers', [1, 3])
@pytest.mark.parametrize('size', [100, 12_000, 16_385])
def test_each_transition_comes_once_in_each_epoch(size, num_readers):
  epochs = [[], []]
  for reader in range(num_readers):
    order = chunks.Order(size, 0, reader, num_readers)
    first, second = (order.chunk_sizes(epoch).sum() for epoch in (0, 1))
    rows = _rows(size, -(-(first + second) // 70), 70, reader, num_readers,
                 shuffle_buffer=6000)
    epochs[0].append(rows[:first])
    epochs[1].append(rows[first:first + second])
  for epoch in epochs:
    np.testing.assert_array_equal(
        np.sort(np.concatenate(epoch)), np.arange(size))


def test_waiting_takes_nothing():
  with _stream(100, 30) as stream:
    wanted = recorded.rows(itertools.islice(stream, 2))
  with _stream(100, 30) as stream:
    start = stream.save()
    while not stream.wait(timeout=1e-3):
      pass
    assert stream.wait() and stream.save() == start
    found = recorded.rows(itertools.islice(stream, 2))
    assert stream.save()['row'] == 60
  np.testing.assert_array_equal(found, wanted)


def test_columns_stay_together():
  whole = store.to_columns(recorded.make_dataset(12_000))
  with _stream(12_000, 64, shuffle_buffer=4096) as stream:
    for batch in itertools.islice(stream, 300):
      assert len(batch.reward) == 64
      for name, column in store.to_columns(batch).items():
        np.testing.assert_array_equal(
            column, whole[name][batch.reward.astype(int)], name)


def test_order_follows_from_seed_and_epoch():
  take = lambda seed: _rows(2000, 8, 500, seed=seed)
  np.testing.assert_array_equal(take(0), take(0))
  assert (take(0) != take(1)).mean() > .9
  first, second = np.split(take(0), 2)
  assert (first != second).mean() > .9


@pytest.mark.parametrize(
    'size, seed, reader, num_readers, buffer, batch_size, start, crc, end', [
        (12_300, 0, 0, 1, 4096, 280, None, 139835199, (2, 3400)),
        (50_001, 7, 1, 3, 9000, 512, None, 2494470642, (3, 1214)),
        (50_001, 7, 2, 3, 200_000, 512, (2, 5000), 1597973118, (5, 6214)),
        (300, 3, 0, 1, 200_000, 16, (1, 140), 2508944395, (6, 240))])
def test_order_is_that_of_version_0_1(
    size, seed, reader, num_readers, buffer, batch_size, start, crc, end):
  """Checkpoints of that version resume with the same minibatches."""
  position = {'num_transitions': size, 'seed': seed, 'num_shards': num_readers}
  epoch, row = start or (0, 0)
  with _stream(
      size, batch_size, reader, num_readers, {
          **position, 'epoch': epoch, 'row': row},
      seed=seed, shuffle_buffer=buffer) as stream:
    rows = recorded.rows(itertools.islice(stream, 100))
    assert stream.save() == {**position, 'epoch': end[0], 'row': end[1]}
  assert zlib.crc32(rows.astype('<i4').tobytes()) == crc


def test_shuffle_is_good_enough():
  """Minibatches of a slowly changing dataset vary like random ones.

  The mean of B values drawn at random has the variance v / B. Slices of 1,000
  neighbours in buffers of 40 slices would give about v / B + v / 40: seven
  times that for B=256. Slices of 32 in buffers of 40,000 transitions add
  v / 1,250, a fifth of it.
  """
  size, batch_size = 200_000, 256
  rows = _rows(size, 1562, batch_size, shuffle_buffer=40_000)
  ratio = (np.var(rows.reshape(-1, batch_size).mean(1))
           / (size ** 2 / 12 / batch_size))
  # The standard deviation of the ratio for 1,562 minibatches is about 0.04.
  assert .85 < ratio < 1.45
  # The place in the epoch does not depend on the place in the dataset.
  rows = rows[:size]
  assert abs(np.corrcoef(rows, np.arange(size))[0, 1]) < .02
  # Few neighbours in the dataset are neighbours in the stream.
  assert np.mean(np.abs(np.diff(rows)) < chunks.SLICE) < .005


@pytest.mark.parametrize('taken', [1, 20, 43, 44, 90])
def test_restored_stream_continues(taken):
  # An epoch has 43.9 minibatches and three shuffle buffers.
  kwargs = dict(batch_size=280, shuffle_buffer=4096)
  with _stream(12_300, **kwargs) as stream:
    assert len(list(itertools.islice(stream, taken))) == taken
    position = stream.save()
    after = recorded.rows(itertools.islice(stream, 50))
  np.testing.assert_array_equal(
      _rows(12_300, 50, **kwargs, position=position), after)


def test_position_of_another_stream_is_refused():
  with _stream(3000, 70) as stream:
    next(stream)
    position = stream.save()
    with pytest.raises(RuntimeError, match='before its first minibatch'):
      stream.restore(position)
  for size, seed, message in [
      (2999, 0, 'num_transitions=3000.*num_transitions=2999'),
      (3000, 1, 'seed=0.*seed=1')]:
    with _stream(size, 70, seed=seed) as other:
      with pytest.raises(ValueError, match=message):
        other.restore(position)


def test_another_number_of_readers_begins_the_epoch_again():
  with _stream(3000, 70) as stream:
    list(itertools.islice(stream, 50))
    position = stream.save()
  assert position['epoch'] == 1 and position['row'] > 0
  with _stream(3000, 70, 1, 2, position) as other:
    assert (other.save()['epoch'], other.save()['row']) == (1, 0)


@pytest.mark.parametrize('kwargs, message', [
    (dict(batch_size=0), 'batch_size=0'),
    (dict(batch_size=1, shuffle_buffer=0), 'shuffle_buffer=0'),
    (dict(batch_size=1, reader=2, num_readers=2), 'reader=2.*num_readers=2'),
    (dict(batch_size=1, num_readers=100), 'num_readers=100 is too many')])
def test_bad_arguments_are_refused(kwargs, message):
  with pytest.raises(ValueError, match=message):
    delivery.make_stream(recorded.make_dataset(1000), **kwargs)


class _Unreadable(store.MemoryStore):

  def read(self, starts, length):
    raise OSError(f'no rows at {starts.min()}')


def test_error_of_the_store_reaches_the_reader():
  with _stream(_Unreadable(recorded.make_dataset(100)), 10) as stream:
    with pytest.raises(OSError, match='no rows at 0'):
      next(stream)


# Through a server.

_SIZE = 20_000
_KWARGS = dict(batch_size=128, num_readers=2, shuffle_buffer=4096)


@pytest.fixture(name='server')
def _server():
  server = servers.Server(
      store.MemoryStore(recorded.make_dataset(_SIZE)), num_readers=2)
  yield server
  server.stop()


def _assert_once_per_epoch(parts):
  """Asserts that two readers, each after 160 minibatches, saw all rows."""
  counts = np.bincount(np.concatenate(parts), minlength=_SIZE)
  assert set(counts) == {2, 3}
  assert (counts == 3).sum() == 2 * 160 * 128 - 2 * _SIZE


def test_nothing_is_lost_or_repeated_when_a_reader_comes_back(server):
  """One of two readers ends in mid-epoch, and again in the next epoch."""
  parts = [_rows(server, 160, reader=0, **_KWARGS)]
  position = None
  for taken in (30, 57, 73):
    with _stream(server, reader=1, position=position, **_KWARGS) as stream:
      parts.append(recorded.rows(itertools.islice(stream, taken)))
      position = stream.save()
  for reader, found in enumerate((parts[0], np.concatenate(parts[1:]))):
    np.testing.assert_array_equal(
        found, _rows(_SIZE, 160, reader=reader, **_KWARGS))
  _assert_once_per_epoch(parts)


class _Client:
  """Calls a server in another process."""

  def __init__(self, calls):
    self._calls = calls

  def __getattr__(self, method):
    def call(*args):
      self._calls.send((method, args))
      return self._calls.recv()
    return call


def _learn(calls, batches):
  """Takes minibatches as a learner that saves after each of them."""
  position = batches.recv()
  with _stream(_Client(calls), reader=1, position=position,
               **_KWARGS) as stream:
    for batch in stream:
      batches.send((batch.reward.astype(int), stream.save()))


def _start_learner(server):
  """Starts `_learn` in a process; returns it and its connection."""
  context = multiprocessing.get_context('spawn')
  batches, remote_batches = context.Pipe()
  calls, remote_calls = context.Pipe()
  learner = context.Process(
      target=_learn, args=(remote_calls, remote_batches), daemon=True)
  learner.start()
  remote_batches.close()  # An error in the process ends `recv`.
  remote_calls.close()

  def answer():
    with contextlib.suppress(EOFError, OSError):
      while True:
        method, args = calls.recv()
        calls.send(getattr(server, method)(*args))

  threading.Thread(target=answer, daemon=True).start()
  return learner, batches


def test_nothing_is_lost_or_repeated_when_a_learner_is_killed(server):
  """Two processes are killed; the next one continues where they last saved."""
  # All import their modules at the same time.
  learners = [_start_learner(server) for _ in range(3)]
  parts = [_rows(server, 160, reader=0, **_KWARGS)]
  position = None
  for (learner, batches), taken in zip(learners, (50, 70, 40)):
    batches.send(position)
    for _ in range(taken):
      rows, position = batches.recv()
      parts.append(rows)
    learner.kill()
    learner.join()
  _assert_once_per_epoch(parts)


def test_another_process_at_the_same_table_is_noticed(server):
  with _stream(server, reader=0, **_KWARGS) as stream:
    next(stream)
    with contextlib.closing(
        servers.receive(server._address, 0)) as received:  # pylint: disable=protected-access
      list(itertools.islice(received, 3))
    with pytest.raises(RuntimeError, match='another process reads'):
      list(itertools.islice(stream, 2000))
