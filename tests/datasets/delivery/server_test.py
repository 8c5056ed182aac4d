"""Tests of resident datasets from a real Reverb server."""

from concurrent import futures
import itertools
import multiprocessing
import os
import time

from acme_msg.datasets import delivery
from acme_msg.datasets.delivery import server as servers
from acme_msg.datasets.delivery import store
import pytest
import recorded
import reverb

# More chunks than a table, its writer and its reader hold together.
_CHUNKS = 65
_SIZE = _CHUNKS * 4096 - 5


@pytest.fixture(name='dataset', scope='module')
def _dataset():
  return recorded.make_dataset(_SIZE, range(0, _SIZE, 97))


@pytest.fixture(name='server')
def _server(dataset):
  server = servers.Server(store.MemoryStore(dataset), num_readers=2)
  yield server
  server.stop()


def _read(server, reader=0, **kwargs):
  return delivery.make_resident_dataset(
      server, reader=reader, num_readers=2, **kwargs)


def test_readers_get_the_dataset_at_once_and_again(server, dataset):
  seen = []
  with futures.ThreadPoolExecutor() as pool:
    found = [pool.submit(_read, server, 0, progress=lambda *rows: seen.append(
        rows)), pool.submit(_read, server, 1)]
  for future in found:
    recorded.assert_same_bits(future.result(), dataset)
  assert seen[0] == (4096, _SIZE) and seen[-1] == (_SIZE, _SIZE)
  assert len(seen) == _CHUNKS
  # Each Reverb item is a whole chunk.
  info = reverb.Client(server.open(1)).server_info()
  assert info['reader_0'].rate_limiter_info.insert_stats.completed == _CHUNKS
  # A reader that restarts.
  recorded.assert_same_bits(_read(server, 0), dataset)


@pytest.mark.parametrize('taken', [0, 1, 50])
def test_reader_that_broke_off_reads_again(server, dataset, taken):
  address = server.open(0)
  if taken:
    samples = list(reverb.Client(address).sample(
        'reader_0', taken, emit_timesteps=False))
    assert len(samples) == taken
  recorded.assert_same_bits(_read(server), dataset)


class _Interrupted:
  """A server at which another process does something right after `open`."""

  def __init__(self, server, act):
    self._server, self._act = server, act

  def __getattr__(self, name):
    return getattr(self._server, name)

  def open(self, *args):
    address = self._server.open(*args)
    self._act(address)
    return address


def test_chunk_taken_by_another_process_is_noticed(server):
  take = lambda address: list(reverb.Client(address).sample(
      'reader_0', 1, emit_timesteps=False))
  with pytest.raises(RuntimeError, match='expected chunk 0.*another process'):
    _read(_Interrupted(server, take))


def test_table_opened_again_while_read_is_noticed(server):
  with pytest.raises(RuntimeError, match='expected chunk.*opened it again'):
    _read(server, progress=lambda rows, total: (
        server.open(0) if rows == 4096 else None))


def test_table_that_was_not_opened_times_out(server):
  address = server.open(0)
  start = time.monotonic()
  with pytest.raises(TimeoutError, match='reader_1 of.*was the table opened'):
    next(servers.receive(address, 1, timeout=1))
  assert time.monotonic() - start >= 1
  with pytest.raises(ValueError, match='reader_2.*reader_0, reader_1'):
    next(servers.receive(address, 2))
  with pytest.raises(ValueError, match='reader=2.*num_readers=2'):
    server.open(2)


def test_absent_server_times_out():
  with pytest.raises(TimeoutError, match='localhost:1 .*data node still run'):
    next(servers.receive('localhost:1', 0, timeout=1))


@pytest.mark.parametrize('num_readers', [0, 10_000])
def test_bad_number_of_readers_is_refused(dataset, num_readers):
  with pytest.raises(ValueError, match=f'num_readers={num_readers}'):
    servers.Server(store.MemoryStore(dataset), num_readers)


def test_closing_a_port_leaves_no_files_open():
  before = os.listdir('/proc/self/fd')
  servers._keep_local(1)
  assert len(os.listdir('/proc/self/fd')) == len(before)


def _serve(connection):
  server = servers.Server(
      store.MemoryStore(recorded.make_dataset(_SIZE)), num_readers=1)
  connection.send(server.open(0))
  connection.recv()


def test_server_killed_while_read_is_noticed():
  context = multiprocessing.get_context('spawn')
  connection, remote = context.Pipe()
  process = context.Process(target=_serve, args=(remote,), daemon=True)
  process.start()
  remote.close()  # An error in the process ends `recv`.
  address = connection.recv()
  received = servers.receive(address, 0, _CHUNKS, timeout=2)
  assert len(list(itertools.islice(received, 1))) == 1
  process.kill()
  process.join()
  with pytest.raises((TimeoutError, ConnectionError), match=address):
    list(received)
