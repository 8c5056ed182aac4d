"""Runs the nodes of a program in Launchpad's terminals.

Launchpad runs each node in a shell there, which hides how the node ends: the
others would wait for a failed node for ever. So its own process is watched.
"""

import atexit
import os
import time
from typing import Dict, Mapping, Optional

import launchpad as lp
from launchpad.launch.run_locally import feature_testing
from launchpad.nodes.python import local_multi_processing
import psutil

from .. import node_processes
from .. import shutdown

# Launchpad's names, and whether each terminal can open here.
_TERMINALS = {
    'current_terminal': lambda: True,
    'output_to_files': lambda: True,
    'tmux_session': feature_testing.has_tmux,
    'byobu_session': feature_testing.has_byobu,
    'xterm': feature_testing.has_xterm,
    'gnome-terminal': feature_testing.has_gnome_terminal,
    'gnome-terminal-tabs': feature_testing.has_gnome_terminal,
}
NAMES = tuple(_TERMINALS)

# Seconds within which all nodes must start; a terminal may not open at all.
_OPENING_SECS = 60


def check(terminal: str) -> None:
  """Raises ValueError if a terminal cannot open here."""
  if terminal not in _TERMINALS:
    raise ValueError(f'terminal={terminal!r} is not one of {NAMES}.')
  if not _TERMINALS[terminal]():
    usable = [name for name, can_open in _TERMINALS.items() if can_open()]
    raise ValueError(
        f'terminal={terminal!r} cannot open here: its program is not installed '
        f'or there is no display. These can: {usable}.')


def _nodes() -> Dict[str, psutil.Process]:
  """Returns the processes of the nodes that this process has launched."""
  found = {}
  for process in psutil.process_iter():
    try:
      command = process.cmdline()
      # The shells around a node have its environment and its arguments, too.
      if (os.path.basename(command[1]) == 'process_entry.py'
          and process.environ().get(shutdown.LAUNCHER_PID) == str(os.getpid())):
        index = command[command.index('--lp_task_id') + 1]
        found[f'{process.environ()[shutdown.GROUP]}/{index}'] = process
    except (psutil.Error, IndexError, ValueError):
      pass  # It has ended, belongs to another user, or is no node.
  return found


def run(program: lp.Program, terminal: str,
        resources: Mapping[str, local_multi_processing.PythonProcess],
) -> Optional[str]:
  """Runs a program in a terminal until it is told to stop, and all nodes end.

  Args:
    program: the program.
    terminal: one of `NAMES`.
    resources: arguments and environment of each group's processes; the
      environment must name this process as the launcher, and the group.

  Returns:
    Which node ended, or never began, before the program was told to stop.
  """
  wanted = len(program.get_all_nodes())
  began = time.time()
  seen: Dict[str, psutil.Process] = {}
  with node_processes.stop_signals() as stop:
    manager = lp.launch(program, launch_type='local_mp', terminal=terminal,
                        local_resources=resources)
    atexit.unregister(manager.wait)  # It would wait for the open windows.
    failure = None
    while not stop.wait(0.5) and not failure:
      if len(seen) < wanted:
        seen.update(_nodes())
        if len(seen) < wanted and time.time() > began + _OPENING_SECS:
          failure = (f'only {len(seen)} of {wanted} nodes came up in {terminal}'
                     f' within {_OPENING_SECS} s')
      for name, process in seen.items():
        if not shutdown.is_alive(process):
          failure = f'the node {name} ended'
    # Launchpad does not know the processes of all nodes: tmux starts its own.
    node_processes.end({**seen, **_nodes()})
  return failure
