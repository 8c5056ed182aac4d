"""Writes files and directories so that they appear complete or not at all.

The content is written under a temporary name in the same directory and then
renamed. A killed process leaves the temporary file behind; `is_partial`
recognises its name.
"""

import contextlib
import glob
import os
import re
import secrets
import shutil
from typing import IO, Iterator

from absl import logging

# Temporary names of this module and of TFDS.
_PARTIAL = re.compile(r'\..+\.partial-\w+|.+\.incomplete\w*')


def check_free(path: str) -> None:
  """Checks that there is nothing at a path.

  Raises:
    FileExistsError: if there is.
  """
  if os.path.lexists(path):
    raise FileExistsError(
        f'{path} exists and is not overwritten; name another path, or move it '
        'away.')


def is_partial(path: str) -> bool:
  """Whether a path is the temporary file of an interrupted write."""
  return bool(_PARTIAL.fullmatch(os.path.basename(os.path.abspath(path))))


@contextlib.contextmanager
def create(path: str, directory: bool) -> Iterator[str]:
  """Makes a new file or directory, and missing parent directories.

  Args:
    path: the file or directory.
    directory: whether to make a directory.

  Yields:
    The path of an empty temporary file or directory to write to. It is removed
    if the body fails. If a temporary file of an earlier, killed process exists,
    a warning names it.

  Raises:
    FileExistsError: if `path` exists, before or after the body runs.
  """
  check_free(path)
  with _temporary(path) as (temporary, older):
    for partial in older:
      logging.warning(
          '%s is an unfinished version of %s. If no other process is writing '
          'it, remove it.', partial, path)
    if directory:
      os.mkdir(temporary)
    else:
      with open(temporary, 'xb'):
        pass
    yield temporary
    check_free(path)
    os.rename(temporary, path)


@contextlib.contextmanager
def replace(path: str, mode: str = 'w') -> Iterator[IO]:
  """Writes a file that may exist; readers see the old content or the new.

  Args:
    path: the file. Missing parent directories are made.
    mode: 'w' for text, 'wb' for bytes.

  Yields:
    The file to write to. If the body fails, `path` is unchanged.
  """
  with _temporary(path) as (temporary, _):
    with open(temporary, mode, newline='' if mode == 'w' else None) as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)


def set_aside(path: str) -> str:
  """Renames a damaged file or directory to `damaged-NAME`, or with a number.

  Returns:
    The new path.
  """
  folder, name = os.path.split(path)
  number, kept = 1, os.path.join(folder, f'damaged-{name}')
  while os.path.lexists(kept):
    number += 1
    kept = os.path.join(folder, f'damaged-{number}-{name}')
  os.rename(path, kept)
  return kept


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[tuple[str, list[str]]]:
  """Yields a temporary path, removed at the end, and those that exist."""
  folder, name = os.path.split(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  prefix = os.path.join(folder, f'.{name}.partial-')
  temporary = prefix + secrets.token_hex(4)
  try:
    yield temporary, glob.glob(glob.escape(prefix) + '*')
  except OSError as e:
    if e.errno is not None:  # Else the message alone is shown.
      e.filename = e.filename or path  # Writing does not name the file.
    raise
  finally:
    if os.path.isdir(temporary):
      shutil.rmtree(temporary)
    elif os.path.exists(temporary):
      os.remove(temporary)
