"""Tests of the way through a real Reverb server."""

from concurrent import futures
import multiprocessing
import time

from acme import types
from acme_msg.datasets.delivery import serving
from acme_msg.datasets.delivery import store
import numpy as np
import pytest
import reverb


def _dataset(size):
  rng = np.random.default_rng(size)
  observation = rng.standard_normal((size + 1, 3)).astype(np.float32)
  action = rng.uniform(-1, 1, (size + 1, 2)).astype(np.float32)
  following = observation[1:].copy()
  following[::97] = 0
  return types.Transition(
      observation[:-1].copy(), action[:-1].copy(),
      rng.standard_normal(size).astype(np.float32),
      np.ones(size, np.float32), following, {'next_action': action[1:].copy()})


def _assert_same_bits(a, b):
  for x, y in zip((*a[:5], a.extras['next_action']),
                  (*b[:5], b.extras['next_action'])):
    assert x.dtype == y.dtype and x.shape == y.shape
    assert x.tobytes() == y.tobytes()


@pytest.fixture
def dataset():
  # More chunks of 10 than a table and its writer hold together.
  return _dataset(2005)


@pytest.fixture
def server(dataset):
  server = serving.ChunkServer(
      store.MemoryStore(dataset), ['host_0', 'host_1'], chunk_size=10)
  yield server
  server.stop()


def _drain(server, table, **kwargs):
  return serving.drain(server.address, table, **kwargs)


def test_one_reader_gets_the_dataset(server, dataset):
  seen = []
  server.open('host_0')
  found = _drain(server, 'host_0', progress=lambda *rows: seen.append(rows))

  _assert_same_bits(found, dataset)
  assert seen[0] == (10, 2005) and seen[-1] == (2005, 2005)
  assert len(seen) == 201


def test_an_item_carries_a_whole_chunk(dataset):
  server = serving.ChunkServer(store.MemoryStore(dataset), ['host_0'])
  server.open('host_0')
  _drain(server, 'host_0')
  info = reverb.Client(server.address).server_info()['host_0']
  server.stop()
  assert info.rate_limiter_info.insert_stats.completed == 1


def test_two_readers_at_once_get_all_of_it_each(server, dataset):
  with futures.ThreadPoolExecutor() as pool:
    found = []
    for table in ('host_0', 'host_1'):
      server.open(table)
      found.append(pool.submit(_drain, server, table))
  for future in found:
    _assert_same_bits(future.result(), dataset)


def test_reader_that_comes_back_drains_again(server, dataset):
  for _ in range(2):
    server.open('host_0')
    _assert_same_bits(_drain(server, 'host_0'), dataset)


@pytest.mark.parametrize('taken', [0, 1, 50])
def test_reader_that_broke_off_drains_again(server, dataset, taken):
  server.open('host_0')
  client = reverb.Client(server.address)
  if taken:
    samples = list(client.sample('host_0', taken, emit_timesteps=False))
    assert len(samples) == taken

  server.open('host_0')
  _assert_same_bits(_drain(server, 'host_0'), dataset)


def test_chunk_taken_by_another_process_is_noticed(server):
  server.open('host_0')
  client = reverb.Client(server.address)
  list(client.sample('host_0', 1, emit_timesteps=False))
  with pytest.raises(RuntimeError, match='chunk 1 of 201.*another process'):
    _drain(server, 'host_0')


def test_table_opened_again_while_read_is_noticed(server):
  server.open('host_0')

  def reopen(rows, total):
    del total
    if rows == 10:
      server.open('host_0')

  with pytest.raises(RuntimeError, match='another pass|was due'):
    _drain(server, 'host_0', progress=reopen)


def test_table_that_nobody_opened_times_out(server):
  start = time.time()
  with pytest.raises(TimeoutError, match="'host_1'.*was the table opened"):
    _drain(server, 'host_1', timeout=1)
  assert time.time() - start < 20


def test_absent_server_times_out():
  with pytest.raises(TimeoutError, match='localhost:1 .*data node still run'):
    serving.drain('localhost:1', 'host_0', timeout=1)


def test_unknown_table_and_reader_are_refused(server):
  with pytest.raises(ValueError, match='host_2.*host_0, host_1'):
    _drain(server, 'host_2')
  with pytest.raises(ValueError, match='host_2.*host_0, host_1'):
    server.open('host_2')


@pytest.mark.parametrize('kwargs, message', [
    (dict(readers=[]), 'name each reader'),
    (dict(readers=['a', 'a']), 'name each reader'),
    (dict(readers=['a'], chunk_size=0), 'chunk_size=0')])
def test_bad_arguments_are_refused(dataset, kwargs, message):
  with pytest.raises(ValueError, match=message):
    serving.ChunkServer(store.MemoryStore(dataset), **kwargs)


def _serve(connection):
  server = serving.ChunkServer(
      store.MemoryStore(_dataset(200_000)), ["host_0"], chunk_size=10)
  server.open('host_0')
  connection.send(server.address)
  connection.recv()


def test_server_killed_while_read_is_noticed():
  context = multiprocessing.get_context('spawn')
  connection, remote = context.Pipe()
  process = context.Process(target=_serve, args=(remote,), daemon=True)
  process.start()
  address = connection.recv()

  def kill(rows, total):
    assert rows < total
    if process.is_alive():
      process.kill()
      process.join()

  with pytest.raises((TimeoutError, ConnectionError), match=address):
    serving.drain(address, 'host_0', progress=kill, timeout=2)
