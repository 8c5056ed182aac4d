"""Makes what learners take: a resident dataset or a stream."""

import contextlib
from typing import Any, Callable, cast, TYPE_CHECKING, Union

from acme import types
import numpy as np

from . import chunks
from . import store as stores
from . import stream

if TYPE_CHECKING:  # This imports Reverb and TensorFlow, which takes seconds.
  from . import server

# T transitions, whole or in blocks; their store; or a server of them, which may
# be a client that calls the server in another process.
Source = Union[stores.Dataset, stores.Store, 'server.Server']


def make_resident_dataset(
    source: Source,
    *,
    reader: int = 0,
    num_readers: int = 1,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> types.Transition:
  """Returns a whole dataset in this process's memory.

  Args:
    source: where the dataset is; one in memory is not copied.
    reader: this reader's number.
    num_readers: how many readers share the server.
    progress: called while the dataset is received from a server, with the
      number of transitions so far and in all.

  Returns:
    T transitions, the same for all readers.

  Raises:
    ValueError: if the server is made for another number of readers.
    TimeoutError: if the server does not answer.
  """
  source = _checked(source, num_readers)
  total = source.num_transitions()
  if isinstance(source, stores.Store):
    return stores.to_transition(source.read(np.zeros(1, int), total))
  from . import server  # pylint: disable=g-import-not-at-top
  headers = chunks.resident_headers(total)
  with contextlib.closing(server.receive(
      source.open(reader), reader, max_chunks=len(headers))) as received:
    return stores.to_transition(
        chunks.unpack(received, headers, total, progress))


def make_stream(
    source: Source,
    batch_size: int,
    *,
    reader: int = 0,
    num_readers: int = 1,
    seed: int = 0,
    shuffle_buffer: int = stream.SHUFFLE_BUFFER,
) -> stream.Stream:
  """Returns an endless iterator of shuffled minibatches.

  Args:
    source: where the dataset is; it does not change the minibatches.
    batch_size: transitions per minibatch.
    reader: this reader's number. A reader that restarts replaces the one with
      the same number.
    num_readers: how many readers share each epoch.
    seed: of the shuffling; the same for all readers.
    shuffle_buffer: transitions in the shuffle buffer, rounded down to whole
      chunks; about three buffers are in memory.

  Returns:
    Minibatches `[batch_size, ...]`, which any Acme learner takes.

  Raises:
    ValueError: if a number is out of its range, or the server is made for
      another number of readers.
    TimeoutError: from the iterator, if the server does not answer.
  """
  source = _checked(source, num_readers)
  order = chunks.Order(source.num_transitions(), seed, reader, num_readers)

  def open_chunks(epoch: int, chunk: int):
    if isinstance(source, stores.Store):
      return chunks.pack_shuffled(source, order, epoch, chunk)
    from . import server  # pylint: disable=g-import-not-at-top
    return server.receive(source.open(reader, seed, epoch, chunk), reader)

  return stream.Stream(open_chunks, order, batch_size, shuffle_buffer,
                       source.observation_statistics)


def example(source: Any) -> types.Transition:
  """Returns the first transition of a dataset, `[1, ...]`."""
  return stores.to_transition(source.example())


def _checked(
    source: Any, num_readers: int) -> Union[stores.Store, 'server.Server']:
  """Returns the source, or its store; checks the server's readers."""
  if not hasattr(source, 'num_readers'):
    return stores.make_store(source)
  source = cast('server.Server', source)
  if (found := source.num_readers()) != num_readers:
    raise ValueError(f'num_readers={num_readers}, but the data node serves '
                     f'{found} readers.')
  return source
