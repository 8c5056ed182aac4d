"""Runs a program's nodes as threads of this process."""

import os
import threading
from typing import Optional

import launchpad as lp
from launchpad.launch import worker_manager

from . import node_processes
from . import node_status


def run(program: lp.Program) -> Optional[str]:
  """Runs a program in threads until its end; returns why it failed, if so."""
  ended = threading.Event()
  with node_processes.stop_signals() as stop:
    manager = lp.launch(program, launch_type='local_mt')
    workers = {f'{group}/{index}': worker
               for group, found in manager._active_workers.items()  # pylint: disable=protected-access
               for index, worker in enumerate(found)}
    threading.Thread(
        target=_end_threads, args=(manager, stop, ended), daemon=True).start()
    try:
      manager.wait()
    except Exception as e:  # The manager has told the other nodes to stop.
      manager.wait(raise_error=False)
      name = next((name for name, worker in workers.items()
                   if worker.future.exception() is e), '')
      return f'the node {name} failed: {node_status.one_line(e)}'
    finally:
      ended.set()
  return None


def _end_threads(manager: worker_manager.WorkerManager, stop: threading.Event,
                 ended: threading.Event) -> None:
  """Ends threads that are told to stop, or the process if they do not end."""
  while not manager.wait_for_stop(0.1):
    if stop.is_set():
      threading.Thread(target=manager.stop_and_wait, daemon=True).start()
      break
  if not ended.wait(node_processes.NOTICE_SECS):
    print('Not all nodes stopped within '
          f'{node_processes.NOTICE_SECS:g} s; the process is ended.',
          flush=True)
    os._exit(1)
