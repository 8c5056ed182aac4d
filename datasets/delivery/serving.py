"""Serves a dataset through Reverb to other processes, in chunks.

Each reader has a table of its own: a bounded queue, which a writer thread fills
while the reader drains it, so that neither side ever holds more than a few
chunks besides the dataset itself. A reader gets the whole dataset in its order,
once, or shuffled epochs of its share without end. One that starts anew opens
its table anew, and gets the whole dataset again, or goes on where it asks to.
"""

import itertools
import queue
import secrets
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from absl import logging
from acme import types
import numpy as np
import reverb
from reverb import errors as reverb_errors
import tensorflow as tf

from . import background
from . import chunks
from . import store
from . import streaming

# Chunks in a table at most, and sent but not yet accepted by it at most.
_QUEUE_SIZE = 32
_IN_FLIGHT = 8
# Chunks that a reader takes before they are asked for.
_AHEAD = 4
# Seconds after which a reader asks anew for chunks that do not come.
_PATIENCE = .5
# How often, in seconds, a table is emptied until its writer has stopped.
_POLL = .1


class ChunkServer:
  """Holds a dataset and a Reverb server, and feeds each reader's table."""

  def __init__(
      self,
      store: store.Store,
      readers: Sequence[str],
      port: Optional[int] = None,
      host: str = 'localhost',
      chunk_size: int = 4000,
  ):
    """Starts the server; nothing is written before a reader is opened.

    Args:
      store: the dataset.
      readers: the names of all readers that there will ever be, which are the
        names of their tables: Reverb cannot add a table later.
      port: of the server; by default a free one.
      host: the name under which readers reach this machine.
      chunk_size: transitions per Reverb item of a pass in order.

    Raises:
      ValueError: if no reader or one twice is named, or the chunk size is not
        positive.
    """
    if not readers or len(set(readers)) < len(readers):
      raise ValueError(
          f'readers={list(readers)}: name each reader of the dataset once.')
    if chunk_size < 1:
      raise ValueError(f'chunk_size={chunk_size}: it must be at least 1.')
    self._store = store
    self._host = host
    self._chunk_size = chunk_size
    signature = {
        name: tf.TensorSpec(shape, dtype, name)
        for name, (shape, dtype) in chunks.signature(store).items()}
    self._server = reverb.Server(
        [reverb.Table.queue(name, _QUEUE_SIZE, signature=signature)
         for name in readers], port)
    self._writers: dict[str, Optional[_Writer]] = dict.fromkeys(readers)
    self._lock = threading.Lock()

  @property
  def address(self) -> str:
    """Where readers find the Reverb server, 'host:port'."""
    return f'{self._host}:{self._server.port}'

  def readers(self) -> list[str]:
    """Returns the names given at construction."""
    return list(self._writers)

  def num_transitions(self) -> int:
    """Returns T, the transitions of the dataset."""
    return self._store.num_transitions

  def example(self) -> store.Columns:
    """Returns the first transition's columns, `[1, ...]`."""
    return dict(self._store.read(0, 1))

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the observations, `[O]` each."""
    return self._store.observation_statistics()

  def open(self, reader: str) -> str:
    """Starts a pass of the whole dataset through a reader's table.

    What is left in the table of an earlier pass is thrown away. Call `drain`
    with the same name afterwards.

    Args:
      reader: one of the names given at construction.

    Returns:
      The server's address.

    Raises:
      ValueError: if there is no such reader.
    """
    return self._start(reader, chunks.split(
        self._store, self._chunk_size, secrets.randbits(62)))

  def open_stream(self, reader: str, seed: int, epoch: int, item: int) -> str:
    """Starts shuffled epochs of a reader's share through its table.

    The readers named at construction share the dataset. Make a
    `Receiver` with the same name afterwards.

    Args:
      reader: one of the names given at construction.
      seed: of the shuffling; the same for all readers.
      epoch: the first one.
      item: the first one in it.

    Returns:
      The server's address.

    Raises:
      ValueError: if there is no such reader.
    """
    readers = self.readers()
    order = streaming.Order(
        self._store.num_transitions, seed,
        readers.index(reader) if reader in readers else 0, len(readers))
    return self._start(reader, streaming.make_items(
        self._store, order, secrets.randbits(62), epoch, item))

  def _start(self, reader: str, chunks: Iterator[chunks.Chunk]) -> str:
    if reader not in self._writers:
      raise ValueError(
          f'there is no reader {reader!r}; this server was made for: '
          f'{", ".join(self._writers)}.')
    with self._lock:
      self._close(reader)
      self._writers[reader] = _Writer(
          self._server.localhost_client(), reader, chunks)
    return self.address

  def stop(self):
    """Ends all passes and the server."""
    with self._lock:
      for reader in self._writers:
        self._close(reader)
      self._server.stop()

  def _close(self, reader: str):
    """Ends the reader's pass, if there is one, and empties its table."""
    writer, self._writers[reader] = self._writers[reader], None
    if writer is not None:
      writer.stop()
    self._server.localhost_client().reset(reader)


class _Writer:
  """A thread that writes one pass of chunks to a table."""

  def __init__(
      self,
      client: reverb.Client,
      table: str,
      chunks: Iterator[chunks.Chunk],
  ):
    self._client = client
    self._table = table
    self._chunks = chunks
    self._stopped = threading.Event()
    self._thread = threading.Thread(
        target=self._run, name=f'write_{table}', daemon=True)
    self._thread.start()

  def stop(self):
    """Stops writing, wherever the pass is, and waits for that."""
    self._stopped.set()
    while self._thread.is_alive():
      # Room in the table lets a writer go on that waits for its last items.
      self._client.reset(self._table)
      self._thread.join(_POLL)

  def _run(self):
    try:
      # The older of Reverb's writers: the newer one wants all items alike.
      with self._client.writer(1, max_in_flight_items=_IN_FLIGHT) as writer:
        for chunk in self._chunks:
          if self._stopped.is_set():
            break
          writer.append(chunk)
          writer.create_item(self._table, num_timesteps=1, priority=1.)
    except Exception:  # The thread's only witness; the reader times out.
      logging.exception('Writing the dataset to %s failed.', self._table)


def drain(
    address: str,
    table: str,
    progress: Optional[Callable[[int, int], Any]] = None,
    timeout: float = 60.,
) -> types.Transition:
  """Reads a whole dataset from a table that was just opened.

  Args:
    address: of the Reverb server, 'host:port'.
    table: the reader's name, as given to `ChunkServer.open`.
    progress: called after each chunk with the rows so far and in all.
    timeout: seconds to wait for the server, and for each chunk.

  Returns:
    The dataset, bit by bit as the server has it, in arrays of this process.

  Raises:
    TimeoutError: if the server does not answer, or no chunk comes in time.
    ConnectionError: if the server ends while chunks are read.
    ValueError: if the server has no such table.
    RuntimeError: if a chunk is missing, comes twice or out of order.
  """
  started = time.time()
  # Reverb's reader takes more than it is asked for. It must take no more than
  # there is: what comes later is another pass.
  first = Receiver(address, table, timeout, max_chunks=1)
  chunk = next(first)
  first.close()
  rest = Receiver(
      address, table, timeout, max_chunks=chunks.count(chunk) - 1)
  try:
    dataset = chunks.join(itertools.chain([chunk], rest), progress)
  finally:
    rest.close()
  logging.info('Read %d transitions from %s of %s in %.2f s.',
               len(dataset.reward), table, address, time.time() - started)
  return dataset


class Receiver(Iterator[chunks.Chunk]):
  """Reads chunks from a table that was just opened, ahead of its consumer."""

  def __init__(
      self,
      address: str,
      table: str,
      timeout: float = 60.,
      max_chunks: Optional[int] = None,
  ):
    """Begins to read.

    Args:
      address: of the Reverb server, 'host:port'.
      table: the reader's name, as given to `ChunkServer`.
      timeout: seconds to wait for the server, and for each chunk.
      max_chunks: how many to read; by default all that ever come.

    Raises:
      TimeoutError: if the server does not answer.
      ValueError: if the server has no such table.
    """
    self._address = address
    self._table = table
    self._timeout = timeout
    tables = _tables(address, timeout)
    if table not in tables:
      raise ValueError(
          f'the Reverb server at {address} has no table {table!r}; it has: '
          f'{", ".join(sorted(tables))}.')
    self._closed = threading.Event()
    self._chunks = background.Background(
        _sample(address, table, tables[table].signature, max_chunks,
                self._closed), _AHEAD)

  def __next__(self) -> chunks.Chunk:
    """Returns the next chunk.

    Raises:
      TimeoutError: if the server does not answer, or no chunk comes in time.
      ConnectionError: if the server ended.
    """
    address, table = self._address, self._table
    try:
      return self._chunks.get(self._timeout)
    except queue.Empty:
      _tables(address, timeout=2)  # Is the server gone?
      raise TimeoutError(
          f'no chunk came from the table {table!r} of {address} within '
          f'{self._timeout:g} s, though the server answers; was the table '
          'opened for this reader, and does no other process read it?'
      ) from None
    except tf.errors.OpError as error:
      raise ConnectionError(
          f'the Reverb server of the dataset at {address} ended while '
          f'{table!r} was read: {error.message}') from error

  def close(self):
    """Ends reading; the table can then be opened anew."""
    self._closed.set()
    self._chunks.close(timeout=2 * _PATIENCE)


def _tables(address: str, timeout: float):
  """Returns the server's tables by name, or raises TimeoutError."""
  try:
    return reverb.Client(address).server_info(max(1, round(timeout)))
  except (reverb_errors.ReverbError, RuntimeError) as error:
    raise TimeoutError(
        f'the Reverb server of the dataset at {address} did not answer within '
        f'{timeout:g} s; does the data node still run?') from error


def _sample(
    address: str,
    table: str,
    signature: Mapping[str, tf.TensorSpec],
    max_chunks: Optional[int],
    closed: threading.Event,
) -> Iterator[chunks.Chunk]:
  """Yields a table's chunks until it is closed, or there were as many."""
  dataset = reverb.TimestepDataset(
      address, table,
      dtypes={name: spec.dtype for name, spec in signature.items()},
      shapes={name: spec.shape for name, spec in signature.items()},
      max_in_flight_samples_per_worker=_IN_FLIGHT,
      num_workers_per_iterator=1, max_samples=max_chunks or -1,
      # No request outlives its reader for long, to take what is meant for the
      # next one.
      rate_limiter_timeout_ms=round(1000 * _PATIENCE))
  number = 0
  while not closed.is_set() and number != max_chunks:
    # Ends without a chunk, too, whenever none came for a while.
    for sample in dataset.as_numpy_iterator():
      yield sample.data
      number += 1
      if closed.is_set():
        return
