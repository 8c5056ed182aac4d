"""Starts a program's nodes as processes, watches them and ends them.

An evaluator that ends is started again, and so is one that makes no progress. A
data node or learner that fails ends the program. A process that is told to stop
is killed if it does not end in time.
"""

import contextlib
import dataclasses
import os
import pickle
import threading
import time
from typing import Iterator, List, Mapping, Optional, Sequence

import launchpad as lp
from launchpad.nodes.python import local_multi_processing
import psutil

from . import node_process
from . import node_status
from . import shutdown
from .. import atomic_files

# Seconds between the request to stop and the end by SIGKILL.
NOTICE_SECS = 60.
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
          node_process.kill(process)
        else:
          with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # If it was stopped by a signal.
    time.sleep(_LOOK_SECS)


def prepared(resources: Resources, folder: str) -> Resources:
  """Has each process call `prepare_node` first, and use `folder`."""
  init_file = os.path.join(folder, 'prepare_node.pkl')
  with atomic_files.replace(init_file, 'wb') as f:
    pickle.dump(node_status.prepare_node, f)
  return {group: dataclasses.replace(
      process, args={**process.args, 'init_file': init_file},
      env={**process.env, 'TMPDIR': folder})
          for group, process in resources.items()}


def _make_nodes(program: lp.Program,
                resources: Resources) -> List[node_process.Node]:
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
      node_process.Node(
          command.title, command.command_as_list, command.env_overrides)
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
  started: List[node_process.Node] = []
  failure = None
  with stop_signals() as stop:
    try:
      for node in nodes:
        node.start()
        started.append(node)
      node_process.say('started ' + ', '.join(
          f'{node.name} (pid {node.process.pid})' for node in nodes))
      looked = time.monotonic()
      while failure is None and not stop.wait(_LOOK_SECS):
        # A launcher that was stopped itself does not blame the nodes.
        seconds = min(time.monotonic() - looked, 1.)
        looked = time.monotonic()
        failure = _look(nodes, seconds)
        if all(node.ended for node in awaited):
          break
    finally:
      end({node.name: node.process for node in started})
      for node in started:
        node.close()
  if failure is None:  # A learner may have failed to save.
    failure = next((f'the node {node.name} {node.end_of()}'
                    for node in awaited if node.exit_code > 0), None)
  return failure


def _look(nodes: Sequence[node_process.Node], seconds: float) -> Optional[str]:
  """Starts evaluators again; returns why the program must end, if so."""
  for node in nodes:
    if not node.ended:
      node.check_progress(seconds)
      continue
    what = f'the node {node.name} {node.end_of()}'
    if node.group == 'evaluator':
      if node.error and not node.has_begun:
        return what  # The environment or the agent cannot be made.
      if node.restarts == MAX_RESTARTS:
        return f'{what}; started {MAX_RESTARTS + 1} times without a result'
      node.close()
      node.start()
      node.restarts += 1
      node_process.say(
          f'{what}; started again (pid {node.process.pid}), {node.restarts} of '
          f'at most {MAX_RESTARTS} times without a result')
    elif node.exit_code:
      return what
    elif node.group == 'data' and any(
        not other.ended for other in nodes if other.group == 'learner'):
      return f'{what} before the run did'
  return None
