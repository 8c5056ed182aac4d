"""Runs a program's nodes as threads of this process."""

import os
import threading
from typing import List, Optional

import launchpad as lp
from launchpad.launch import worker_manager

from . import node_processes
from . import node_status


def run(program: lp.Program) -> Optional[str]:
  """Runs a program in threads until its end; returns why it failed, if so."""
  ended = threading.Event()
  failures: List[str] = []
  with node_processes.stop_signals() as stop:
    manager = lp.launch(program, launch_type='local_mt')
    workers = {f'{group}/{index}': worker
               for group, found in manager._active_workers.items()  # pylint: disable=protected-access
               for index, worker in enumerate(found)}
    threading.Thread(
        target=_end_threads, daemon=True,
        args=(manager, stop, ended, failures)).start()
    try:
      manager.wait()
    except Exception as e:  # The manager has told the other nodes to stop.
      name = next((name for name, worker in workers.items()
                   if worker.future.done() and worker.future.exception() is e),
                  '')
      failures.append(f'the node {name} failed: {node_status.one_line(e)}')
      manager.wait(raise_error=False)
    finally:
      ended.set()
  return failures[0] if failures else None


def _end_threads(manager: worker_manager.WorkerManager, stop: threading.Event,
                 ended: threading.Event, failures: List[str]) -> None:
  """Ends threads that are told to stop, or the process if they do not end."""
  while not manager.wait_for_stop(0.1):
    if stop.is_set():
      threading.Thread(target=manager.stop_and_wait, daemon=True).start()
      break
  if not ended.wait(node_processes.NOTICE_SECS):
    print('Not all nodes stopped within '
          f'{node_processes.NOTICE_SECS:g} s; the process is ended. '
          + ''.join(failures), flush=True)
    os._exit(1)
