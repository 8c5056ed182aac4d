"""Starts a program's nodes as processes, watches them and ends them.

An evaluator that ends is started again, and so is one that makes no progress. A
data node or learner that fails ends the program. A process that is told to stop
is killed if it does not end in time.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import threading
import time
from typing import Iterator, List, Mapping, Optional, Sequence

import launchpad as lp
from launchpad.nodes.python import local_multi_processing
import psutil

from . import node_status
from . import shutdown

# Seconds between the request to stop and the end by SIGKILL.
NOTICE_SECS = 60.
# Seconds without progress after which a node is ended. A data node's may pass
# while the function that makes the dataset runs.
STALLED_SECS = {'evaluator': 600., 'data': 3600.}
# Seconds after which a node that was stopped by a signal (SIGSTOP) is ended.
STOPPED_SECS = 600.
# How often an evaluator is started again without a result in between.
MAX_RESTARTS = 3
# Seconds between two looks at the nodes, and between two requests to stop.
_LOOK_SECS = 0.1
_REQUEST_SECS = 1.

Resources = Mapping[str, local_multi_processing.PythonProcess]


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
  """Lets SIGTERM and Ctrl-C set an event; must be used in the main thread."""
  stop = threading.Event()
  with shutdown.on_signals(lambda _: stop.set()):
    yield stop


def end(processes: Mapping[str, psutil.Process]) -> None:
  """Ends processes, by SIGTERM and after `NOTICE_SECS` by SIGKILL.

  SIGTERM is repeated, because a process that is starting or that runs C++ code
  may lose one.

  Args:
    processes: the processes by name.
  """
  began = time.monotonic()
  told = began - _REQUEST_SECS
  killed = False
  while running := {name: process for name, process in processes.items()
                    if shutdown.is_alive(process)}:
    now = time.monotonic()
    if now > began + NOTICE_SECS and not killed:
      print(f'{", ".join(running)} did not stop within {NOTICE_SECS:g} s and '
            'will be killed.', flush=True)
      killed = True
    if now >= told + _REQUEST_SECS:
      told = now
      for process in running.values():
        if killed:
          kill(process)
        else:
          with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # If it was stopped by a signal.
    time.sleep(_LOOK_SECS)


def kill(process: psutil.Process) -> None:
  """Kills a process and its children."""
  with contextlib.suppress(psutil.NoSuchProcess):
    for running in (*process.children(recursive=True), process):
      with contextlib.suppress(psutil.NoSuchProcess):
        running.kill()


class _Node:
  """One node, in a process that may be started again.

  Attributes:
    name: as in 'evaluator/0'.
    group: as in 'evaluator'.
    restarts: how often it was started again since its last result.
    has_begun: whether it has ever made progress.
    error: why it fails, as it says itself or as its end by us is explained.
  """

  def __init__(self, name: str, command: Sequence[str],
               env: Mapping[str, str]):
    self.name = name
    self.group = name.partition('/')[0]
    self.restarts = 0
    self.has_begun = False
    self._command, self._env = command, env

  def start(self) -> None:
    self.error = ''
    self._idle = 0.
    self._has_warned = False
    self._pipe = node_status.Pipe()
    try:
      self._process = subprocess.Popen(
          self._command, pass_fds=[self._pipe.writer],
          env={**os.environ, **self._env,
               node_status.VARIABLE: str(self._pipe.writer)})
    finally:
      self._pipe.close_writer()
    self.process = psutil.Process(self._process.pid)

  def ended(self) -> bool:
    return self._process.poll() is not None

  def end_of(self) -> str:
    """Returns in words how the process has ended."""
    code = self._process.returncode
    if self.error:
      return f'failed: {self.error}'
    if code >= 0:
      return f'ended with exit code {code}'
    name = signal.Signals(-code).name
    if name == 'SIGKILL':
      name += ' (perhaps because memory ran out)'
    return f'was killed by {name}'

  @property
  def failed(self) -> bool:
    return bool(self._process.returncode)

  def listen(self) -> bool:
    """Reads what the process tells; returns whether it makes progress."""
    lines = self._pipe.lines()
    for line in lines:
      if line == node_status.EVALUATED:
        self.restarts = 0
      elif line != node_status.PROGRESS:
        self.error = line
    self.has_begun |= bool(lines) and not self.error
    return bool(lines)

  def close(self) -> None:
    """Forgets a process that has ended."""
    self._process.wait()
    self._pipe.close()

  def check_progress(self, seconds: float) -> None:
    """Warns of a process without progress, and kills it after a while.

    Args:
      seconds: time since the last call.
    """
    limit = STALLED_SECS.get(self.group)
    is_stopped = self._is_stopped()
    if is_stopped:
      limit = STOPPED_SECS
    elif self.listen():
      limit = None
    if limit is None:
      self._idle, self._has_warned = 0., False
      return
    self._idle += seconds
    since = datetime.datetime.now() - datetime.timedelta(seconds=self._idle)
    what = (f'{"is stopped by a signal" if is_stopped else "makes no progress"}'
            f' since {since:%H:%M:%S}')
    if self._idle > limit:
      self.error = f'it {what} ({self._idle:.0f} s)'
      kill(self.process)
    elif self._idle > limit / 10 and not self._has_warned:
      self._has_warned = True
      hint = ' `kill -CONT` lets it go on.' if is_stopped else ''
      _say(f'the node {self.name} (pid {self.process.pid}) {what}. It will be '
           f'killed after {limit:g} s.{hint}')

  def _is_stopped(self) -> bool:
    try:
      return self.process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
      return False


def _say(message: str) -> None:
  print(f'[launcher] {message}', flush=True)


def _make_nodes(program: lp.Program, resources: Resources) -> List[_Node]:
  """Returns the nodes to start, each as a child of this process.

  `lp.launch` puts a shell around each node, which hides how the node ends and
  holds back what it prints to a file.
  """
  for group, nodes in program.groups.items():
    for node in nodes:
      node._initialize_context(  # pylint: disable=protected-access
          lp.context.LaunchType.LOCAL_MULTI_PROCESSING,
          launch_config=resources[group])
  for group, nodes in program.groups.items():
    for node in nodes:
      for handle in node.input_handles:
        handle.connect(node, group)
  for node in program.get_all_nodes():
    node.bind_addresses()
  return [
      _Node(command.title, command.command_as_list, command.env_overrides)
      for group, nodes in program.groups.items()
      for command in nodes[0].to_executables(
          nodes, group, nodes[0].launch_context)]


def run(program: lp.Program, resources: Resources) -> Optional[str]:
  """Runs a program's nodes until all of them have ended.

  Args:
    program: the program. It is stopped once the nodes of its group 'learner'
      (without one, all nodes) have ended, at SIGTERM or Ctrl-C, or when a node
      fails. Nodes of the group 'evaluator' are started again.
    resources: arguments and environment of each group's processes.

  Returns:
    Why the program failed; None if no node did.
  """
  nodes = _make_nodes(program, resources)
  awaited = [node for node in nodes if node.group == 'learner'] or nodes
  started: List[_Node] = []
  failure = None
  with stop_signals() as stop:
    try:
      for node in nodes:
        node.start()
        started.append(node)
      _say('started ' + ', '.join(
          f'{node.name} (pid {node.process.pid})' for node in nodes))
      looked = time.monotonic()
      while failure is None and not stop.wait(_LOOK_SECS):
        # A launcher that was stopped itself does not blame the nodes.
        seconds = min(time.monotonic() - looked, 1.)
        looked = time.monotonic()
        failure = _look(nodes, seconds)
        if all(node.ended() for node in awaited):
          break
    finally:
      end({node.name: node.process for node in started})
      for node in started:
        node.close()
  return failure


def _look(nodes: Sequence[_Node], seconds: float) -> Optional[str]:
  """Starts evaluators again; returns why the program must end, if so."""
  for node in nodes:
    if not node.ended():
      node.check_progress(seconds)
      continue
    node.listen()
    what = f'the node {node.name} {node.end_of()}'
    if node.group == 'evaluator':
      if node.error and not node.has_begun:
        return what  # The environment or the agent cannot be made.
      if node.restarts == MAX_RESTARTS:
        return f'{what}, {MAX_RESTARTS + 1} times without a result'
      node.close()
      node.start()
      node.restarts += 1
      _say(f'{what}; started again (pid {node.process.pid}), {node.restarts} '
           f'of at most {MAX_RESTARTS} times without a result')
    elif node.failed:
      return what
    elif node.group == 'data' and any(
        not other.ended() for other in nodes if other.group == 'learner'):
      return f'{what} before the run did'
  return None
