r"""Starts and stops many programs in one process, and reports how long it took.

Each program has a data node, a learner and an evaluator that do nothing. It is
told to stop at a random moment, also while its nodes start: by its learner, as
a run that is finished, or by a signal, as one that is cancelled:

  python -m acme_msg.experiments.chaos.starts --count=200
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import os
import random
import signal
import statistics
import sys
import threading
import time

from absl import flags
import launchpad as lp

from ... import command_help
from ...launch import local
from ...launch import node_processes
from ...launch import shutdown
from ...launch import temporary

# Seconds in which the nodes of a program start, more or less.
_START_SECS = 4.


class Node:
  """A node that waits for the end of the program, or ends it."""

  def __init__(self, delay: float = 0., path: str = ''):
    """Initializes the node.

    Args:
      delay: seconds until it ends the program.
      path: a file to make then; without one it does not end the program.
    """
    self._delay, self._path = delay, path

  def run(self) -> None:
    stop = shutdown.begin()
    if self._path:
      stop.wait(self._delay)
      with open(self._path, 'w'):
        lp.stop()
    shutdown.wait(stop)


def start_and_stop(by_signal: bool, delay: float) -> float:
  """Runs one program.

  Args:
    by_signal: stops it by SIGTERM to this process; otherwise its learner does.
    delay: seconds until then, since the start of the program or the learner.

  Returns:
    Seconds from the request to stop to the end of all nodes.

  Raises:
    RuntimeError: if a node fails.
  """
  program = lp.Program('starts')
  with temporary.folder() as folder:
    path = os.path.join(folder, 'stopped')
    for group in ('data', 'learner', 'evaluator'):
      ends = group == 'learner' and not by_signal
      with program.group(group):
        program.add_node(lp.PyClassNode(Node, delay, path if ends else ''))
    resources = node_processes.prepared(local.resources(), folder)
    if by_signal:

      def stop():
        with open(path, 'w'):
          os.kill(os.getpid(), signal.SIGTERM)

      timer = threading.Timer(delay, stop)
      timer.start()
    failure = node_processes.run(program, resources)
    if failure:
      raise RuntimeError(failure)
    if not os.path.exists(path):
      sys.exit('error: stopped by a signal from outside.')
    return time.time() - os.path.getmtime(path)


def main(argv):
  """Starts and stops the programs."""
  del argv
  moments = random.Random(flags.FLAGS.seed)
  took = []
  began = time.time()
  for index in range(flags.FLAGS.count):
    by_signal = index % 2 == 0
    took.append(start_and_stop(
        by_signal, moments.uniform(0.5, _START_SECS if by_signal else 1.)))
    if (index + 1) % 10 == 0:
      print(f'{index + 1} programs, the slowest stopped in {max(took):.1f} s',
            flush=True)
  late = sum(seconds > node_processes.NOTICE_SECS for seconds in took)
  print(f'{len(took)} programs started and stopped in '
        f'{time.time() - began:.0f} s. From the request to the end of all '
        f'nodes: median {statistics.median(took):.1f} s, longest '
        f'{max(took):.1f} s; {late} were killed after '
        f'{node_processes.NOTICE_SECS:g} s.')
  if late:
    sys.exit(1)


if __name__ == '__main__':
  # Not at an import: tests also import modules with a flag of the same name.
  flags.DEFINE_integer('count', 200, 'Programs.')
  flags.DEFINE_integer('seed', 0, 'Seed of the moments.')
  command_help.run(main)
