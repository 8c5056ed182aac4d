"""Opens HDF5 files with clear messages, and reads compressed fields faster.

HDF5 decompresses the chunks of a field one by one, under a lock. This module
decompresses the chunks of a gzip-compressed field, as in D4RL's files, in
several threads; zlib releases Python's lock. h5py reads all other fields.
"""

from concurrent import futures
import contextlib
import io
import itertools
import math
import os
from typing import Any, Callable, IO, Iterator, Optional
import zlib

import h5py
import numpy as np

from . import file_checks

_THREADS = min(4, os.cpu_count() or 1)
# In bytes; h5py is as fast on smaller reads.
_LEAST_SIZE = 2**20
# Numbers of the filters in HDF5's registry. The known ones are built in, and
# LZF is part of h5py; HDF5 would load any other from a directory of plugins.
_GZIP, _SHUFFLE, _LZF = 1, 2, 32000
_KNOWN = {_GZIP, _SHUFFLE, 3, 4, 5, 6, _LZF}
_MOST_UNWRITTEN = 10_000  # Chunks.


@contextlib.contextmanager
def open_file(path: str) -> Iterator[h5py.File]:
  """Opens a file for reading; an OSError while it is open means damage.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not an HDF5 file, or a damaged one.
  """
  file_checks.check_file(path)
  if not h5py.is_hdf5(path):
    with open(path, 'rb') as file:
      start = file.read(16)
    raise ValueError(
        f'{path}: not an HDF5 file, it has {os.path.getsize(path)} bytes and '
        f'begins with {start!r}. Download or make it again.')
  try:
    with h5py.File(path, 'r') as file:
      yield file
  except MemoryError as error:
    raise ValueError(
        f'{path}: the data does not fit the memory ({error}); use a machine '
        'with more, or --data_mode=stream.') from error
  except OSError as error:
    if 'unable to lock file' in str(error):
      raise ValueError(
          f'{path}: another process has locked the file, perhaps to write it '
          f'({error}); wait until it has ended.') from error
    raise ValueError(
        f'{path}: the HDF5 file is damaged or incomplete, perhaps by an '
        f'interrupted download ({error}); download or make it again.'
    ) from error


@contextlib.contextmanager
def new_file(
    path: str, temporary: str,
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
  """Opens a file `temporary` for writing, which `path` names in messages.

  Yields:
    The file, and a function that raises OSError if a write has failed.

  Raises:
    OSError: at the end, if a write has failed.
  """
  def check():
    if target.error:
      raise OSError(target.error, os.strerror(target.error), path)

  with open(temporary, 'r+b', buffering=0) as opened:
    target = _Target(opened)
    with h5py.File(target, 'w') as file:
      yield file, check
    check()


class _Target(io.RawIOBase):
  """Keeps the number of the first error of a file and writes no more.

  HDF5 crashes when it cannot write what remains while a file is closed.
  """

  def __init__(self, file: IO[bytes]):
    super().__init__()
    self._file = file
    self.error: Optional[int] = None

  def write(self, data: Any) -> int:
    rest = memoryview(data)
    try:
      while rest and self.error is None:
        rest = rest[self._file.write(rest):]
    except OSError as error:
      self.error = error.errno
    return len(data)

  def truncate(self, size: Optional[int] = None) -> int:
    try:
      return self._file.truncate(size)
    except OSError as error:
      self.error = self.error or error.errno
      return 0

  def readinto(self, data: Any) -> int:
    return self._file.readinto(data)  # type: ignore[attr-defined]

  def seek(self, offset: int, whence: int = 0) -> int:
    return self._file.seek(offset, whence)

  def tell(self) -> int:
    return self._file.tell()


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
  """Turns the many types of errors that h5py raises into OSError."""
  try:
    yield
  except MemoryError:
    raise
  except Exception as error:
    raise OSError(f'while reading {what}: {error}') from error


def names(group: h5py.Group) -> list[str]:
  """Returns the names in a group; raises OSError if it is damaged."""
  with _reading(f'the names in {group.name}'):
    return list(group)


def attribute(file: h5py.File, name: str) -> Any:
  """Returns an attribute of the file, or None if there is none.

  Raises:
    OSError: if the file is damaged.
  """
  with _reading(f'the attribute {name!r}'):
    return file.attrs.get(name)


def member(
    source: str, group: h5py.Group, name: str, place: str = '',
) -> h5py.Group | h5py.Dataset | None:
  """Returns a field or group by its name in a group, or None if it is missing.

  Args:
    source: the file, for messages.
    group: the group.
    name: the name.
    place: the name for messages, if it is another.

  Raises:
    OSError: if the file is damaged.
    ValueError: if the member does not lie in this file, has no value, or needs
      a filter that HDF5 would load from elsewhere.
  """
  place = place or name
  problem = ''
  with _reading(f'the field {place!r}'):
    encoded = name.encode('utf-8', 'surrogateescape')
    if not group.id.links.exists(encoded):
      return None
    link = group.id.links.get_info(encoded).type
    if link == h5py.h5l.TYPE_HARD:
      item = group[name]
      if isinstance(item, h5py.Dataset):
        problem = _problem(item)
      elif not isinstance(item, h5py.Group):
        problem = 'is a type without data'
    else:
      problem = ('is a link to another place, which is not followed'
                 if link == h5py.h5l.TYPE_SOFT else
                 'is a link to another file, which is not followed')
  if problem:
    raise ValueError(
        f'{source}: field {place!r} {problem}; store its numbers in the file.')
  return item


def _problem(field: h5py.Dataset) -> str:
  """Returns why a field is not read, or the empty string."""
  created = field.id.get_create_plist()
  _ = field.dtype  # Raises if NumPy does not know the type.
  if field.shape is None:
    return 'has no value (h5py.Empty)'
  if created.get_layout() == h5py.h5d.VIRTUAL:
    return 'is virtual: it may lie in other files, which are not read'
  if created.get_external_count():
    return (f'lies outside of the file, in {field.external[0][0]!r}, which is '
            'not read')
  unknown = set(_filters(created)) - _KNOWN
  if unknown:
    return (f'is packed by the filters {sorted(unknown)}, which are not part '
            'of HDF5 (h5repack -f GZIP=4 changes them)')
  chunks = _num_chunks(field) if field.chunks else 0
  if chunks > _MOST_UNWRITTEN:  # HDF5 fills them one by one.
    unwritten = chunks - field.id.get_num_chunks()
    if unwritten > _MOST_UNWRITTEN:
      return f'has {unwritten:,} chunks of {chunks:,} that were never written'
  return ''


def _num_chunks(field: h5py.Dataset) -> int:
  """Returns the number of chunks that the shape of a field needs."""
  return math.prod(-(-size // chunk) for size, chunk in zip(
      field.shape, field.chunks))


def size(field: h5py.Dataset) -> int:
  """Returns the bytes that a field claims, or those of one chunk if more."""
  return field.dtype.itemsize * max(
      math.prod(field.shape), math.prod(field.chunks or (0,)))


def read(
    field: h5py.Dataset, start: int = 0, stop: Optional[int] = None,
) -> np.ndarray:
  """Returns `field[start:stop]`; `stop` is at most the number of rows.

  Raises:
    OSError: if the file is damaged, naming the field.
  """
  with _reading(f'the field {field.name.lstrip("/")!r}'):
    if not field.shape:  # A scalar; the caller may refuse it.
      return field[()]
    stop = field.shape[0] if stop is None else stop
    read_size = field.dtype.itemsize * (stop - start) * math.prod(
        field.shape[1:])
    if read_size < _LEAST_SIZE or not _is_plain(field):
      return field[start:stop]
    return _read_chunks(field, start, stop)


def _filters(created: h5py.h5p.PropDCID) -> list[int]:
  return [created.get_filter(i)[0] for i in range(created.get_nfilters())]


def _is_plain(field: h5py.Dataset) -> bool:
  """Whether a field's chunks are all there, packed by gzip, maybe shuffled."""
  if field.chunks is None or field.dtype.kind not in 'fiub':
    return False
  if _filters(field.id.get_create_plist()) not in ([_GZIP], [_SHUFFLE, _GZIP]):
    return False
  # Chunks that were never written have the fill value.
  return field.id.get_num_chunks() == _num_chunks(field)


def _read_chunks(field: h5py.Dataset, start: int, stop: int) -> np.ndarray:
  """Reads rows chunk by chunk in several threads."""
  result = np.empty((stop - start,) + field.shape[1:], field.dtype)
  size = math.prod(field.chunks) * field.dtype.itemsize
  shuffled = _SHUFFLE in _filters(field.id.get_create_plist())
  rows = field.chunks[0]
  columns = list(itertools.product(*(
      range(0, limit, chunk)
      for limit, chunk in zip(field.shape[1:], field.chunks[1:]))))

  def read_chunk(offset: tuple[int, ...]) -> np.ndarray:
    mask, data = field.id.read_direct_chunk(offset)
    if mask:
      raise OSError(f'the chunk at {offset} was written without its filters')
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(data, size)
    if len(data) != size or not unpacker.eof and unpacker.decompress(
        unpacker.unconsumed_tail, 1):
      raise OSError(
          f'the chunk at {offset} does not have the {size} bytes of a chunk')
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
