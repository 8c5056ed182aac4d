"""Opens HDF5 files with clear messages, and reads compressed fields faster.

HDF5 decompresses the chunks of a field one by one, under a lock. This module
decompresses the chunks of a gzip-compressed field, as in D4RL's files, in
several threads; zlib releases Python's lock. h5py reads all other fields.
"""

from concurrent import futures
import contextlib
import itertools
import os
from typing import Iterator, Optional
import zlib

import h5py
import numpy as np

_THREADS = min(4, os.cpu_count() or 1)
# In bytes; h5py is as fast on smaller reads.
_LEAST_SIZE = 2**20
# Numbers of the filters in HDF5's registry.
_GZIP, _SHUFFLE = 1, 2


@contextlib.contextmanager
def open_file(path: str) -> Iterator[h5py.File]:
  """Opens a file for reading; an OSError while it is open means damage.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not an HDF5 file, or a damaged one.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(
        f'{path}: there is no such dataset file; check --dataset.')
  if not h5py.is_hdf5(path):
    with open(path, 'rb') as file:
      start = file.read(16)
    raise ValueError(
        f'{path}: not an HDF5 file, it has {os.path.getsize(path)} bytes and '
        f'begins with {start!r}. Download or make it again.')
  try:
    with h5py.File(path, 'r') as file:
      yield file
  except OSError as error:
    raise ValueError(
        f'{path}: the HDF5 file is damaged or incomplete, perhaps by an '
        f'interrupted download ({error}); download or make it again.'
    ) from error


def read(
    field: h5py.Dataset, start: int = 0, stop: Optional[int] = None,
) -> np.ndarray:
  """Returns `field[start:stop]`; `stop` is at most the number of rows.

  Raises:
    OSError: if the file is damaged, naming the field.
  """
  if not field.shape:  # A scalar; the caller may refuse it.
    return field[()]
  stop = len(field) if stop is None else stop
  try:
    size = field.dtype.itemsize * (stop - start) * int(np.prod(field.shape[1:]))
    filters = _filters(field) if size >= _LEAST_SIZE else None
    if filters is None:
      return field[start:stop]
    return _read_chunks(field, start, stop, _SHUFFLE in filters)
  except (OSError, zlib.error) as error:
    raise OSError(
        f'while reading the field {field.name.lstrip("/")!r}: {error}'
    ) from error


def _filters(field: h5py.Dataset) -> Optional[list[int]]:
  """Returns the filters of a field, or None if h5py must read it."""
  if field.chunks is None or field.dtype.kind not in 'fiub':
    return None
  created = field.id.get_create_plist()
  filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
  if filters not in ([_GZIP], [_SHUFFLE, _GZIP]):
    return None
  expected = np.prod([-(-size // chunk) for size, chunk in zip(
      field.shape, field.chunks)])
  # Chunks that were never written have the fill value.
  return filters if field.id.get_num_chunks() == expected else None


def _read_chunks(
    field: h5py.Dataset, start: int, stop: int, shuffled: bool) -> np.ndarray:
  """Reads rows chunk by chunk in several threads."""
  result = np.empty((stop - start,) + field.shape[1:], field.dtype)
  size = int(np.prod(field.chunks)) * field.dtype.itemsize
  rows = field.chunks[0]
  columns = list(itertools.product(*(
      range(0, limit, chunk)
      for limit, chunk in zip(field.shape[1:], field.chunks[1:]))))

  def read_chunk(offset: tuple[int, ...]) -> np.ndarray:
    mask, data = field.id.read_direct_chunk(offset)
    if mask:
      raise OSError(f'the chunk at {offset} was written without its filters')
    data = zlib.decompress(data, bufsize=size)
    if len(data) != size:
      raise OSError(
          f'the chunk at {offset} has {len(data)} bytes in place of {size}')
    chunk = np.frombuffer(data, np.uint8)
    if shuffled:  # All first bytes, then all second bytes, etc.
      chunk = np.ascontiguousarray(chunk.reshape(field.dtype.itemsize, -1).T)
    return chunk.view(field.dtype).reshape(field.chunks)

  def read_band(band: int):
    """Reads the chunks that begin in one row."""
    first = max(band, start)
    into = result[first - start:band + rows - start]
    for column in columns:
      place = tuple(
          slice(o, o + size) for o, size in zip(column, field.chunks[1:]))
      target = into[(slice(None),) + place]
      chunk = read_chunk((band, *column))
      target[...] = chunk[first - band:][tuple(map(slice, target.shape))]

  with futures.ThreadPoolExecutor(_THREADS) as pool:
    for _ in pool.map(read_band, range(start // rows * rows, stop, rows)):
      pass
  return result
