"""Serves a store to the readers in other processes, through Reverb.

Each reader has a table, a bounded queue that a thread fills with chunks while
the reader empties it. Neither side holds more than a few chunks besides the
dataset itself. A reader that restarts opens its table again.
"""

import contextlib
import itertools
import os
import queue
import socket
import stat
import threading
import time
from typing import Generator, Iterator, Optional

from absl import logging
import numpy as np
import reverb
from reverb import errors as reverb_errors
import tensorflow as tf

from . import background
from . import chunks
from . import store as stores

# The most chunks in a table, on their way to or from it, and received.
_TABLE_SIZE = 32
_IN_FLIGHT = 8
_AHEAD = 4
# Seconds that a request for chunks waits at an empty table. A request can live
# that long after its reader was killed, and take a chunk of the next reader.
_REQUEST_TIMEOUT = .5
# Seconds between two attempts to empty a table whose writer shall stop.
_POLL = .1


class Server:
  """Holds a store and a Reverb server, and fills each reader's table."""

  def __init__(
      self,
      store: stores.Store,
      num_readers: int,
      port: Optional[int] = None,
      host: str = 'localhost',
  ):
    """Starts the server; a table is filled once its reader opens it.

    Args:
      store: the dataset.
      num_readers: how many readers share it.
      port: of the Reverb server; by default a free one.
      host: the name under which readers reach this machine.

    Raises:
      ValueError: if there are less than one reader or than one slice for each.
    """
    chunks.Order(store.num_transitions(), 0, 0, num_readers)  # Checks both.
    self._store = store
    signature = {
        name: tf.TensorSpec([None, *column.shape[1:]], column.dtype, name)
        for name, column in store.example().items()}
    signature['header'] = tf.TensorSpec(
        [len(chunks.Header._fields)], np.int64, 'header')
    signature['odd'] = tf.TensorSpec([None], np.int32, 'odd')
    self._reverb = reverb.Server(
        [reverb.Table.queue(_table(reader), _TABLE_SIZE, signature=signature)
         for reader in range(num_readers)], port)
    if host == 'localhost':
      _keep_local(self._reverb.port)
    self._address = f'{host}:{self._reverb.port}'
    self._client = self._reverb.localhost_client()
    self._num_readers = num_readers
    self._writers: dict[int, tuple[threading.Thread, threading.Event]] = {}
    self._lock = threading.Lock()

  def num_readers(self) -> int:
    """Returns the number of readers that share the dataset."""
    return self._num_readers

  def num_transitions(self) -> int:
    """Returns T, the transitions of the dataset."""
    return self._store.num_transitions()

  def example(self) -> stores.Columns:
    """Returns the first transition's columns, `[1, ...]`."""
    return self._store.example()

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the observations, `[O]` each."""
    return self._store.observation_statistics()

  def open(
      self,
      reader: int,
      seed: Optional[int] = None,
      epoch: int = 0,
      chunk: int = 0,
  ) -> str:
    """Starts to fill a reader's table, emptied before; `receive` reads it.

    Args:
      reader: the reader's number.
      seed: of the shuffling, the same for all readers; None for the whole
        dataset once, in its order.
      epoch: of the first chunk.
      chunk: the first one's number in that epoch.

    Returns:
      The Reverb server's address, 'host:port'.

    Raises:
      ValueError: if there is no such reader.
    """
    order = chunks.Order(
        self.num_transitions(), seed or 0, reader, self.num_readers())
    with self._lock:
      if self._close(reader):
        time.sleep(_REQUEST_TIMEOUT)
      parts = (chunks.pack_resident(self._store) if seed is None else
               chunks.pack_shuffled(self._store, order, epoch, chunk))
      stopped = threading.Event()
      writer = threading.Thread(target=_write, daemon=True, args=(
          self._client, _table(reader), parts, stopped))
      self._writers[reader] = writer, stopped
      writer.start()
    return self._address

  def stop(self) -> None:
    """Stops to fill tables, and the Reverb server."""
    with self._lock:
      for reader in self._writers:
        self._close(reader)
      self._reverb.stop()

  def _close(self, reader: int) -> bool:
    """Empties the reader's table; returns whether it had been opened."""
    if reader not in self._writers:
      return False
    writer, stopped = self._writers[reader]
    stopped.set()
    while writer.is_alive():
      # A writer waits for room in the table before it ends.
      self._client.reset(_table(reader))
      writer.join(_POLL)
    self._client.reset(_table(reader))
    return True


def _write(client: reverb.Client, table: str, parts: Iterator[chunks.Chunk],
           stopped: threading.Event):
  """Writes chunks to a table until stopped."""
  try:
    # Reverb's newer trajectory writer needs items of one shape.
    with client.writer(1, max_in_flight_items=_IN_FLIGHT) as writer:
      for chunk in parts:
        if stopped.is_set():
          break
        writer.append(chunk)
        writer.create_item(table, num_timesteps=1, priority=1.)
  except Exception:  # The reader times out; the reason is only known here.
    logging.exception('Writing the dataset to %s failed.', table)


def _keep_local(port: int) -> None:
  """Has this process's socket at a port accept this machine alone.

  Reverb listens to all networks and has no option for it.
  """
  for fd in os.listdir('/proc/self/fd'):
    with contextlib.suppress(OSError):  # Closed meanwhile, or no socket.
      if not stat.S_ISSOCK(os.fstat(int(fd)).st_mode):
        continue
      with socket.socket(fileno=os.dup(int(fd))) as s:
        if (s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and s.getsockname()[1] == port):
          try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')
          except OSError as e:
            logging.warning(
                'Port %d of the Reverb server is open to other machines: %s. '
                'Linux 5.7 or a firewall would close it.', port, e)


def _table(reader: int) -> str:
  return f'reader_{reader}'


def receive(
    address: str,
    reader: int,
    max_chunks: Optional[int] = None,
    timeout: float = 60.,
) -> Generator[chunks.Chunk, None, None]:
  """Yields the chunks of a table that `Server.open` has opened.

  Args:
    address: of the Reverb server, 'host:port'.
    reader: the reader's number.
    max_chunks: how many to take; by default there is no end.
    timeout: seconds to wait for each chunk.

  Raises:
    TimeoutError: if the server does not answer, or no chunk comes in time.
    ConnectionError: if the server ends meanwhile.
    ValueError: if the server has no such reader.
  """
  table, closed = _table(reader), threading.Event()
  # In a thread, since Reverb tries for ever to reach a server that is gone.
  parts = background.Background(
      _sample(address, table, max_chunks, timeout, closed), _AHEAD)
  try:
    for _ in itertools.count() if max_chunks is None else range(max_chunks):
      yield parts.get(timeout)
  except (queue.Empty, reverb_errors.ReverbError) as error:
    raise TimeoutError(
        f'no chunk came from the table {table} of the Reverb server at '
        f'{address} within {timeout:g} s. Does the data node still run, was '
        'the table opened for this reader, and does no other process read it?'
    ) from error
  except tf.errors.OpError as error:
    raise ConnectionError(
        f'the Reverb server of the dataset at {address} ended while {table} '
        f'was read: {error.message}') from error
  finally:
    closed.set()
    parts.close(2 * _REQUEST_TIMEOUT)


def _sample(
    address: str,
    table: str,
    max_chunks: Optional[int],
    timeout: float,
    closed: threading.Event,
) -> Iterator[chunks.Chunk]:
  """Yields the chunks of a table until closed."""
  received = 0
  while not closed.is_set() and received != max_chunks:
    dataset = reverb.TimestepDataset.from_table_signature(
        address, table, _IN_FLIGHT, num_workers_per_iterator=1,
        rate_limiter_timeout_ms=round(1000 * _REQUEST_TIMEOUT),
        get_signature_timeout_secs=max(1, round(timeout)),
        # More chunks would belong to the table's next reader.
        max_samples=-1 if max_chunks is None else max_chunks - received)
    # The iterator ends when a request has timed out, too.
    for sample in dataset.as_numpy_iterator():
      yield sample.data
      received += 1
