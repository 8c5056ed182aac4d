"""Checks of dataset files before a library opens them.

Opening a FIFO waits for ever, and a device has no end. A small file may claim
to unpack to more than the memory.
"""

import json
import os
import stat
from typing import Any

# A dataset may have this many times the bytes of its file, and this many bytes
# besides. Gzip packs at most 1,032 bytes into one.
MAX_RATIO = 1100
_ALWAYS_ALLOWED = 2**26
# Bytes of a description; TFDS's have some kilobytes.
_MOST_JSON = 2**26

_KINDS = {
    stat.S_IFDIR: 'a directory', stat.S_IFIFO: 'a FIFO',
    stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device',
    stat.S_IFSOCK: 'a socket'}


def check_file(path: str, may_be_empty: bool = False) -> None:
  """Checks that a path is a regular file that can be read and is not empty.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is something else.
  """
  try:
    status = os.stat(path)
  except (FileNotFoundError, NotADirectoryError) as error:
    raise FileNotFoundError(
        f'{path}: there is no such dataset file; check --dataset.') from error
  except OSError as error:
    raise ValueError(
        f'{path}: this path cannot be followed ({error.strerror}); check its '
        'permissions and links.') from error
  if not stat.S_ISREG(status.st_mode):
    found = _KINDS.get(stat.S_IFMT(status.st_mode), 'no file')
    raise ValueError(
        f'{path}: this is {found}, not a regular file; name the file that '
        'holds the data.')
  if not os.access(path, os.R_OK, effective_ids=True):
    raise ValueError(
        f'{path}: this process may not read the file; change its permissions '
        '(chmod +r).')
  if not status.st_size and not may_be_empty:
    raise ValueError(
        f'{path}: the file is empty (0 bytes); download or make it again.')


def read_json(path: str) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it holds something else.
  """
  check_file(path)
  try:
    if os.path.getsize(path) > _MOST_JSON:
      raise ValueError(f'it has more than {_MOST_JSON:,} bytes')
    with open(path, encoding='utf-8') as file:
      content = json.load(file)
    if not isinstance(content, dict):
      raise ValueError('it holds no object')
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(
        f'{path}: not a description of a dataset in JSON ({error}); download '
        'or make the dataset again.') from error
  return content


class Claims:
  """Adds up the bytes that the fields of a file claim to have."""

  def __init__(self, path: str):
    self._path = path
    self._stored = os.path.getsize(path)
    self._claimed = 0

  def add(self, field: str, size: int) -> None:
    """Adds a field before it is read.

    Raises:
      ValueError: if the fields so far claim more than 64 MiB and `MAX_RATIO`
        times the size of the file.
    """
    self._claimed += size
    if self._claimed > _ALWAYS_ALLOWED + MAX_RATIO * self._stored:
      raise ValueError(
          f'{self._path}: with field {field!r} the fields claim '
          f'{self._claimed:,} bytes, but the file has {self._stored:,}, and at '
          f'most 64 MiB and {MAX_RATIO:,} times that are read. Make or '
          'download the file again; if it is right, store it without '
          'compression.')
