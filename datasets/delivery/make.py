"""One way to get a dataset, wherever it is: whole, or as shuffled batches."""

from typing import Any, Callable, Optional, Protocol, Union

from acme import types
import jax
import numpy as np

from .. import loading
from . import serving
from .. import sources
from .. import steps
from . import store
from . import streaming


class Node(Protocol):
  """Who serves a dataset: a `serving.ChunkServer`, or a client of one."""

  def readers(self) -> list[str]:
    """See `serving.ChunkServer`, here and below."""

  def num_transitions(self) -> int:
    ...

  def example(self) -> store.Columns:
    ...

  def observation_statistics(self) -> tuple[np.ndarray, np.ndarray]:
    ...

  def open(self, reader: str) -> str:
    ...

  def open_stream(self, reader: str, seed: int, epoch: int, item: int) -> str:
    ...


def make_dataset(
    source: Union[str, steps.Source, types.Transition, store.Store, Node],
    *,
    task_name: str = '',
    options: loading.DataOptions = loading.DataOptions(),
    discount: float = 0.99,
    batch_size: Optional[int] = None,
    shard_index: int = 0,
    num_shards: int = 1,
    seed: int = 0,
    num_epochs: Optional[int] = None,
    shuffle_buffer: int = streaming.SHUFFLE_BUFFER,
    on_device: bool = True,
    progress: Optional[Callable[[int, int], Any]] = None,
) -> Union[types.Transition, streaming.Stream]:
  """Returns a dataset as arrays, or as an iterator of batches.

  Args:
    source: what `sources.find` takes or returns; or T transitions, a store of
      them, or the node that serves them. From all come the same batches.
    task_name: of a source, see `selection.load`.
    options: of a source, what is made of its data.
    discount: of a source, that of n-step returns.
    batch_size: transitions per batch; None asks for the whole dataset at once.
    shard_index: which of the readers this is. One that comes back takes the
      place of the one before it.
    num_shards: how many readers share each epoch; a node must have been made
      for as many. The whole dataset is the same for all.
    seed: of the shuffling; the same for all readers.
    num_epochs: when batches end; by default never.
    shuffle_buffer: see `streaming.Stream`.
    on_device: whether the whole dataset goes to JAX's default device; else it
      comes as NumPy arrays, like batches.
    progress: called while a whole dataset comes from a node, with the
      transitions so far and in all.

  Returns:
    T transitions, or an iterator of `[batch_size, ...]` ones, which any Acme
    learner takes; its position can be saved and restored.

  Raises:
    FileNotFoundError: if there is no such source.
    ValueError: if an argument makes no sense, a source is not valid, or the
      node is made for another number of readers.
    TimeoutError: if the node does not answer.
  """
  if isinstance(source, str):
    source = sources.find(source, task_name)
  if isinstance(source, steps.Source):
    # Batches need no more of the dataset in memory than is shuffled at once.
    source = (
        sources.load(source, task_name, options, discount)
        if batch_size is None else store.DiskStore(
            sources.transition_blocks(source, task_name, options, discount)))
  is_node = hasattr(source, 'open_stream')
  if is_node:
    readers = source.readers()
    if len(readers) != num_shards:
      raise ValueError(
          f'num_shards={num_shards}, but the data node serves {len(readers)} '
          f'readers: {", ".join(readers)}.')
    total = source.num_transitions()
  else:
    if isinstance(source, types.Transition):
      source = store.MemoryStore(source)
    total = source.num_transitions
  order = streaming.Order(total, seed, shard_index, num_shards)

  if batch_size is None:
    if is_node:
      reader = readers[shard_index]
      dataset = serving.drain(source.open(reader), reader, progress)
    else:
      dataset = store.to_transition(source.read(0, total))
    return jax.device_put(dataset) if on_device else dataset

  if is_node:
    reader = readers[shard_index]
    open_items = lambda epoch, item: serving.Receiver(
        source.open_stream(reader, seed, epoch, item), reader)
  else:
    open_items = streaming.open_locally(source, order)
  return streaming.Stream(
      open_items, order, batch_size, num_epochs, shuffle_buffer,
      source.observation_statistics)


def example(source: Union[store.Store, Node]) -> types.Transition:
  """Returns the first transition of a dataset, `[1, ...]`."""
  columns = (source.example() if hasattr(source, 'open_stream')
             else source.read(0, 1))
  return store.to_transition(columns)
