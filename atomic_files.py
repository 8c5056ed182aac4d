"""Writes files and directories so that they appear complete or not at all."""

import contextlib
import glob
import os
import re
import shutil
import tempfile
from typing import IO, Iterator

from absl import logging

_PARTIAL = re.compile(r'\..+\.partial-\w+|.+\.incomplete\w*')


def check_free(path: str):
  """Refuses a path at which something is.

  Raises:
    FileExistsError: if there is.
  """
  if os.path.lexists(path):
    raise FileExistsError(
        f'{path} exists, and nothing is overwritten; name another one, or move '
        'this one away.')


def is_partial(path: str) -> bool:
  """Whether a path names what is left of a writing that was broken off.

  That is one of `create`, or of TFDS.
  """
  return bool(_PARTIAL.fullmatch(os.path.basename(os.path.abspath(path))))


@contextlib.contextmanager
def create(path: str, directory: bool) -> Iterator[str]:
  """Has something written under a temporary name, and then renames it.

  Args:
    path: of what is to be made. The directories above it are made too.
    directory: whether it is a directory; else it is a file.

  Yields:
    The temporary path, beside `path`: an empty directory, or an empty file.
    It is removed if the body fails. A killed process leaves it behind, under a
    name that `is_partial` knows, and which a later call tells of.

  Raises:
    FileExistsError: if there is something at `path`, before or afterwards.
  """
  check_free(path)
  parent, name = os.path.split(os.path.abspath(path))
  os.makedirs(parent, exist_ok=True)
  prefix = f'.{name}.partial-'
  for left in glob.glob(os.path.join(
      glob.escape(parent), glob.escape(prefix) + '*')):
    logging.warning(
        '%s is what another writing of %s has made so far. If none is under '
        'way, it was broken off: remove it.', left, path)
  temporary = tempfile.mkdtemp(prefix=prefix, dir=parent)
  if not directory:
    os.rmdir(temporary)
    with open(temporary, 'xb'):
      pass
  try:
    yield temporary
    os.chmod(temporary, 0o755 if directory else 0o644)
    check_free(path)
    os.rename(temporary, path)
  except BaseException:
    if directory:
      shutil.rmtree(temporary)
    else:
      os.remove(temporary)
    raise


@contextlib.contextmanager
def replace(path: str, mode: str = 'w') -> Iterator[IO]:
  """Writes a file anew; readers see the old content or the new one.

  Args:
    path: the file, which may exist. Its directory is made if missing.
    mode: 'w' for text, 'wb' for bytes.

  Yields:
    The file to write to. If the body fails, `path` is left as it was.
  """
  path = os.path.abspath(path)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  temporary = f'{path}.{os.getpid()}.tmp'
  try:
    with open(temporary, mode, newline='' if mode == 'w' else None) as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)
    raise
