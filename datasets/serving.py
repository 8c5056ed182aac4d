"""Serves a dataset through Reverb to other processes, in chunks.

Each reader has a table of its own: a bounded queue, which a writer thread fills
while the reader drains it, so that neither side ever holds more than a few
chunks besides the dataset itself. A reader that starts anew opens its table
anew and gets the whole dataset again.
"""

import functools
import queue
import secrets
import threading
import time
from typing import Any, Callable, Iterator, Optional, Sequence

from absl import logging
from acme import types
import reverb
from reverb import errors as reverb_errors
import tensorflow as tf

from . import chunks as chunks_lib

# Chunks in a table at most, and sent but not yet accepted by it at most.
_QUEUE_SIZE = 64
_IN_FLIGHT = 8
# How often, in seconds, a table is emptied until its writer has stopped.
_POLL = .1


class ChunkServer:
  """Holds a dataset and a Reverb server, and feeds each reader's table."""

  def __init__(
      self,
      dataset: types.Transition,
      readers: Sequence[str],
      port: Optional[int] = None,
      chunk_size: int = 1000,
  ):
    """Starts the server; nothing is written before a reader is opened.

    Args:
      dataset: T transitions with flat columns; `extras` is `()` or holds
        'next_action'.
      readers: the names of all readers that there will ever be, which are the
        names of their tables: Reverb cannot add a table later.
      port: of the server; by default a free one.
      chunk_size: transitions per Reverb item.

    Raises:
      ValueError: if the dataset is empty or malformed, no reader or one twice
        is named, or the chunk size is not positive.
    """
    if not readers or len(set(readers)) < len(readers):
      raise ValueError(
          f'readers={list(readers)}: name each reader of the dataset once.')
    if chunk_size < 1:
      raise ValueError(f'chunk_size={chunk_size}: it must be at least 1.')
    self._dataset = dataset
    self._chunk_size = chunk_size
    signature = {
        name: tf.TensorSpec(shape, dtype, name)
        for name, (shape, dtype) in chunks_lib.signature(dataset).items()}
    self._server = reverb.Server(
        [reverb.Table.queue(name, _QUEUE_SIZE, signature=signature)
         for name in readers], port)
    self._writers: dict[str, Optional[_Writer]] = dict.fromkeys(readers)
    self._lock = threading.Lock()

  @property
  def port(self) -> int:
    """The port that the Reverb server listens at."""
    return self._server.port

  def open(self, reader: str):
    """Starts a pass of the whole dataset through a reader's table.

    What is left in the table of an earlier pass is thrown away. Call `drain`
    with the same name afterwards.

    Args:
      reader: one of the names given at construction.

    Raises:
      ValueError: if there is no such reader.
    """
    if reader not in self._writers:
      raise ValueError(
          f'there is no reader {reader!r}; this server was made for: '
          f'{", ".join(self._writers)}.')
    with self._lock:
      self._close(reader)
      self._writers[reader] = _Writer(
          self._server.localhost_client(), reader,
          chunks_lib.split(
              self._dataset, self._chunk_size, secrets.randbits(62)))

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
      chunks: Iterator[chunks_lib.Chunk],
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
  client = reverb.Client(address)
  tables = _tables(client, address, timeout)
  if table not in tables:
    raise ValueError(
        f'the Reverb server at {address} has no table {table!r}; it has: '
        f'{", ".join(sorted(tables))}.')
  started = time.time()
  received = _in_thread(_samples(client, table), timeout)
  try:
    dataset = chunks_lib.join(received, progress)
  except queue.Empty:
    _tables(client, address, timeout=2)  # Is the server gone?
    raise TimeoutError(
        f'no chunk came from the table {table!r} of {address} within '
        f'{timeout:g} s, though the server answers; was the table opened for '
        'this reader, and does no other process read it?') from None
  except reverb_errors.ReverbError as error:
    raise ConnectionError(
        f'the Reverb server of the dataset at {address} ended while '
        f'{table!r} was read: {error}') from error
  finally:
    received.close()
  logging.info('Read %d transitions from %s of %s in %.2f s.',
               len(dataset.reward), table, address, time.time() - started)
  return dataset


def _tables(client: reverb.Client, address: str, timeout: float):
  """Returns the server's tables by name, or raises TimeoutError."""
  try:
    return client.server_info(max(1, round(timeout)))
  except (reverb_errors.ReverbError, RuntimeError) as error:
    raise TimeoutError(
        f'the Reverb server of the dataset at {address} did not answer within '
        f'{timeout:g} s; does the data node still run?') from error


def _samples(client: reverb.Client, table: str) -> Iterator[chunks_lib.Chunk]:
  """Yields the chunks of a pass; waits forever if the server is gone."""
  sample = functools.partial(
      client.sample, table, emit_timesteps=False,
      unpack_as_table_signature=True)
  first, = sample(num_samples=1)
  yield _only(first)
  # Exactly the rest: the sampler reads ahead, and what it takes is gone.
  rest = chunks_lib.count(_only(first)) - 1
  if rest:
    yield from (_only(item) for item in sample(num_samples=rest))


def _only(item: reverb.ReplaySample) -> chunks_lib.Chunk:
  """Returns the only time step of an item."""
  return {name: column[0] for name, column in item.data.items()}


def _in_thread(iterator: Iterator[Any], timeout: float) -> Iterator[Any]:
  """Yields what an iterator yields, that may block, run in a thread.

  Args:
    iterator: the thread is left behind in it when it does not come back.
    timeout: seconds to wait for each value.

  Raises:
    queue.Empty: if no value comes in time.
    Exception: whatever the iterator raises.
  """
  received = queue.Queue()
  room = threading.Semaphore(4)  # A few values ahead of the consumer.
  closed = threading.Event()

  def run():
    try:
      for value in iterator:
        room.acquire()
        if closed.is_set():
          return
        received.put((value, None))
    except Exception as error:
      received.put((None, error))

  threading.Thread(target=run, daemon=True).start()
  try:
    while True:
      value, error = received.get(timeout=timeout)
      if error is not None:
        raise error
      yield value
      room.release()
  finally:
    closed.set()
    room.release()
