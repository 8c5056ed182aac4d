"""A folder for the temporary files of a run, removed at its end."""

import contextlib
import fcntl
import glob
import os
import shutil
import socket
import tempfile
from typing import Iterator
import zlib


def _prefix() -> str:
  """Returns how the names of this machine's folders begin.

  `$TMPDIR` may be shared with machines whose locks are not seen here.
  """
  return f'acme_msg-run-{zlib.crc32(socket.gethostname().encode()):08x}-'


@contextlib.contextmanager
def folder() -> Iterator[str]:
  """Makes the folder and has this process put its temporary files there.

  Child processes that inherit `TMPDIR` do the same. Libraries leave files
  behind, such as Reverb's checkpoints and Launchpad's pickles. What a killed
  process has left is removed by the next call.

  Yields:
    The folder's path; only this user may enter it.
  """
  with contextlib.suppress(OSError):
    _remove_left()
  path, fd = _make()
  outer = tempfile.tempdir, os.environ.get('TMPDIR')
  tempfile.tempdir = os.environ['TMPDIR'] = path
  try:
    yield path
  finally:
    tempfile.tempdir = outer[0]
    if outer[1] is None:
      del os.environ['TMPDIR']
    else:
      os.environ['TMPDIR'] = outer[1]
    shutil.rmtree(path, ignore_errors=True)
    os.close(fd)


def _make() -> tuple[str, int]:
  """Makes a folder; it is locked until the descriptor is closed."""
  while True:
    path = tempfile.mkdtemp(prefix=_prefix())
    try:
      fd = os.open(path, os.O_DIRECTORY)
      fcntl.flock(fd, fcntl.LOCK_EX)
    except FileNotFoundError:
      continue
    # Another process may have removed it before it was locked.
    if os.path.exists(path):
      return path, fd
    os.close(fd)


def _remove_left() -> None:
  """Removes this user's folders here that no process has locked."""
  for path in glob.glob(os.path.join(
      glob.escape(tempfile.gettempdir()), _prefix() + '*')):
    with contextlib.suppress(OSError):
      fd = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW)
      try:
        if os.fstat(fd).st_uid == os.getuid():
          fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
          shutil.rmtree(path, ignore_errors=True)
      finally:
        os.close(fd)
