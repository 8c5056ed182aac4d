"""The lock of a run's directory: one process at a time writes there.

The owner holds `ROOT_DIR/.lock` by `flock`, which the kernel releases when the
owner ends, however it ends. The file says who the owner is. On a file system
without locks a warning is printed, and nothing protects the directory.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import time
from typing import IO, Iterator, List

import psutil

from . import shutdown

_NAME = '.lock'
# Seconds to wait for an owner that is about to end, such as a learner whose
# launcher was killed a moment ago.
_PATIENCE = 15.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


def _path(root_dir: str) -> str:
  return os.path.join(root_dir, _NAME)


def exists(root_dir: str) -> bool:
  """Returns whether a directory has a lock file."""
  return os.path.exists(_path(root_dir))


def check(root_dir: str) -> None:
  """Refuses a directory that another process owns; writes nothing.

  Args:
    root_dir: the run's directory.

  Raises:
    ValueError: if the directory has an owner that does not end in some seconds.
  """
  try:
    file = open(_path(root_dir))
  except FileNotFoundError:
    return
  with file:
    _lock(root_dir, file, fcntl.LOCK_SH)


@contextlib.contextmanager
def hold(root_dir: str) -> Iterator[None]:
  """Owns a run's directory, which is made if missing.

  The lock file is removed at the end, and so are the directories that were made
  for it if nothing else was written.

  Args:
    root_dir: the run's directory.

  Raises:
    ValueError: see `check`.
  """
  made = _missing_directories(root_dir)
  try:
    with _open_locked(root_dir) as file:
      try:
        file.seek(0)
        left_by = file.read().strip()
        if left_by:
          print(f'{root_dir} was left by a process that ended without notice: '
                f'{left_by}. Its lock is taken over.', flush=True)
        try:
          file.truncate(0)
          os.write(file.fileno(), f'{_this_process()}\n'.encode())
        except OSError as e:
          e.filename = file.name  # Writing does not name the file.
          raise
        yield
      finally:
        with contextlib.suppress(FileNotFoundError):
          os.remove(file.name)
  finally:
    with contextlib.suppress(OSError):  # Something else was written.
      for directory in made:
        os.rmdir(directory)


def _missing_directories(path: str) -> List[str]:
  """Returns the directories of a path that do not exist, innermost first."""
  missing = []
  while not os.path.isdir(path):
    missing.append(path)
    path = os.path.dirname(path)
  return missing


def _open_locked(root_dir: str) -> IO[str]:
  """Opens and locks the lock file."""
  while True:
    os.makedirs(root_dir, exist_ok=True)
    file = open(_path(root_dir), 'a+')
    try:
      _lock(root_dir, file, fcntl.LOCK_EX)
    except BaseException:
      file.close()
      raise
    # A former owner may have removed the file before it was locked here.
    with contextlib.suppress(FileNotFoundError):
      if os.path.samestat(os.stat(file.name), os.fstat(file.fileno())):
        return file
    file.close()


def _lock(root_dir: str, file: IO[str], kind: int) -> None:
  """Locks an open file; waits for an owner that may be about to end."""
  deadline, told = time.monotonic() + _PATIENCE, False
  while True:
    try:
      fcntl.flock(file, kind | fcntl.LOCK_NB)
      return
    except BlockingIOError:
      file.seek(0)
      owner = file.read().strip() or 'a process that has not written its name'
      if time.monotonic() > deadline:
        raise ValueError(
            f'{root_dir} is in use by another process: {owner}. Stop that '
            'process, wait for it, or choose another root_dir.') from None
      if not told:
        told = True
        print(f'{root_dir} is in use: {owner}. Waiting for up to '
              f'{_PATIENCE:g} s, in case it is about to end.', flush=True)
    except OSError as e:
      if e.errno not in _NO_LOCKS:
        raise
      print(f'Warning: {file.name} cannot be locked ({e.strerror}): take care '
            f'that no other process uses {root_dir}.', flush=True)
      return
    time.sleep(0.2)


def _this_process() -> str:
  """Returns host, process, start and command of this process's program."""
  process = psutil.Process()
  name = f'host {socket.gethostname()}, pid {process.pid}'
  with contextlib.suppress(psutil.Error):
    if shutdown.LAUNCHER_PID in os.environ:  # Its command is what a user knows.
      process = psutil.Process(int(os.environ[shutdown.LAUNCHER_PID]))
      name += f' (started by pid {process.pid})'
  started = time.strftime(
      '%Y-%m-%d %H:%M:%S %z', time.localtime(process.create_time()))
  return f'{name}, since {started}: {shlex.join(process.cmdline())}'
