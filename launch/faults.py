"""Says in one line what a machine lacks that ends a run: room, rights, memory.

Such an error needs no traceback, since nothing is wrong with the program.
"""

import errno
import os
import re
from typing import Dict, Optional

_ROOM = 'Make room there'
_RIGHTS = 'Change its permissions, or name another place'
_PLACE = 'Check the path, or name another place'
_WHAT_TO_DO: Dict[int, str] = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: 'Raise the limit of file sizes (`ulimit -f`)',
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOENT: _PLACE,
    errno.ENOTDIR: _PLACE,
    errno.EISDIR: _PLACE,
    errno.EEXIST: _PLACE,
    errno.ENAMETOOLONG: _PLACE,
    errno.EIO: 'Check the disk or the connection to it',
    errno.ESTALE: 'Check the disk or the connection to it',
    errno.EMFILE: 'Raise the limit of open files (`ulimit -n`)',
    errno.ENFILE: 'End other programs',
}
# How TensorStore, which writes checkpoints, names a file and an error.
_TENSORSTORE = re.compile(
    r'(?:.*"(/[^"]*)")?.*?\[OS error (\d+): ', re.DOTALL)
# The end of Orbax's name of a checkpoint that is being written.
_UNFINISHED = re.compile(r'\.orbax-checkpoint-tmp/.*', re.DOTALL)


def explain(error: BaseException) -> Optional[str]:
  """Returns what the machine lacks and what to do, without a full stop.

  Args:
    error: an error that ends a process.

  Returns:
    The path, what is wrong, and what to do; None if the error says nothing
    about the machine.
  """
  text = str(error)
  if isinstance(error, OSError):
    what = error.strerror or text
    return _explain_os(error.errno, error.filename, what)
  if match := _TENSORSTORE.match(text):
    path, number = match.groups()
    return _explain_os(int(number), path, os.strerror(int(number)))
  if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in text:
    first = text.splitlines()[0] if text else 'an allocation failed'
    return (f'memory ran out: {first.rstrip(".")}. Use smaller batches or '
            'ensembles, streamed data, more devices or a larger machine')
  return None


def check_writable(path: str) -> None:
  """Refuses a directory that cannot be made or written to; writes nothing.

  Raises:
    OSError: if so.
  """
  while not os.path.lexists(path):
    path = os.path.dirname(path)
  if not os.path.isdir(path):
    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
  if not os.access(path, os.W_OK | os.X_OK):
    raise OSError(errno.EACCES, 'It is not writable', path)


def _explain_os(number: Optional[int], path: Optional[str],
                what: str) -> Optional[str]:
  if number not in _WHAT_TO_DO:
    return None
  where = _UNFINISHED.sub('', str(path)) if path else 'a file or the output'
  return f'{where}: {what}. {_WHAT_TO_DO[number]}'
