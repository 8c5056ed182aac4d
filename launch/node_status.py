"""What the process of a node tells the launcher that has started it.

The launcher gives each process the writing end of a pipe. It learns from it
that the node makes progress, and why it fails.
"""

import atexit
import os
import signal
import sys
import time
import traceback
from typing import List, Optional

from . import faults
from . import quiet

# Environment variable with the pipe's file descriptor.
VARIABLE = 'ACME_MSG_STATUS'

# What is told.
PROGRESS = 'progress'
EVALUATED = 'evaluated'

# When progress was told last, on the monotonic clock.
_last_told = [0.]


def progress() -> None:
  """Tells that the main thread is not stuck; at most once a second."""
  now = time.monotonic()
  if now > _last_told[0] + 1:
    _last_told[0] = now
    _tell(PROGRESS)


def evaluated() -> None:
  """Tells that the learner has got an evaluator's result."""
  _tell(EVALUATED)


def failed(why: str) -> None:
  """Tells why this process ends, in one line."""
  _tell(' '.join(why.split())[:1000])


def is_explained(error: BaseException) -> bool:
  """Returns whether an error's message is all that a user needs.

  It is if this package raised a ValueError itself, for an OSError, and for a
  lack of memory. Anything else may be a bug.
  """
  trace = error.__traceback__
  while trace is not None and trace.tb_next is not None:
    trace = trace.tb_next
  module = '' if trace is None else trace.tb_frame.f_globals.get('__name__', '')
  return isinstance(error, OSError) or faults.explain(error) is not None or (
      isinstance(error, ValueError) and module.split('.')[0] == 'acme_msg')


def one_line(error: BaseException) -> str:
  """Returns what an error says, with its type unless it is explained."""
  text = faults.explain(error) or str(error)
  if not is_explained(error):
    text = ''.join(traceback.format_exception_only(type(error), error))
  return ' '.join(text.split())


def print_error(error: BaseException) -> None:
  """Prints an error, with a traceback unless it is explained."""
  if is_explained(error):
    print(f'error: {one_line(error)}', file=sys.stderr, flush=True)
  else:
    traceback.print_exception(error)


def prepare_node() -> None:
  """Prepares the process of a node, before the node is unpickled."""
  quiet.prepare_node()

  def tell_and_print(error_type, error, trace):
    del error_type, trace
    failed(one_line(error))
    print_error(error)

  sys.excepthook = tell_and_print
  # The launcher repeats SIGTERM, which would kill a process that is exiting.
  atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)


def _tell(line: str) -> None:
  """Writes a line to the launcher, if it listens."""
  descriptor = os.environ.get(VARIABLE)
  if descriptor is None:  # Not a process that `node_processes` has started.
    return
  try:
    os.write(int(descriptor), f'{line}\n'.encode())
  except OSError:
    pass  # The pipe is full, or the launcher has ended.


class Pipe:
  """The pipe of one process, as its launcher uses it.

  Attributes:
    writer: the file descriptor that the process inherits.
  """

  def __init__(self):
    self._reader, self.writer = os.pipe()
    self._rest = b''
    os.set_blocking(self._reader, False)
    os.set_blocking(self.writer, False)

  def close_writer(self) -> None:
    """Leaves the writing end to the process, once it is started."""
    os.close(self.writer)

  def lines(self) -> List[str]:
    """Returns the lines that have come since the last call."""
    while (part := self._read()):
      self._rest += part
    *lines, self._rest = self._rest.split(b'\n')
    return [line.decode(errors='replace') for line in lines]

  def close(self) -> None:
    os.close(self._reader)

  def _read(self) -> Optional[bytes]:
    try:
      return os.read(self._reader, 1 << 16)
    except BlockingIOError:
      return None
