"""How the hosts of one learner join, agree and end.

Each host runs one process, and all processes take the same steps at the same
time, because a collective waits for all of them. They must agree on everything
that does not follow from their common state, such as when to stop.

JAX's coordination service finds hosts that die: it ends every process and names
the dead one, as `task:N` for host N. Its period and timeout have no public name
in JAX 0.6.2 (`heartbeat_timeout_seconds` came with 0.7), so `join` uses the
private one. The service is also the channel for short texts (`tell`, `ask`).

Two things are made here because JAX 0.6.2 does not offer them:
- A host that fails with a Python error tells the others why, and all end at
  once. JAX alone would let the failed process wait for the others at exit.
- `check` agrees on a stop. `multihost_utils.reached_preemption_sync_point` was
  tried: it replaces Launchpad's SIGTERM handler, which sets the stop event that
  the whole process waits for, and a stop cannot be reported to it otherwise.
"""

import functools
import os
import re
import signal
import socket
import threading
import time
from typing import Callable, Sequence

import jax
from jax._src import distributed  # The coordination client has no public name.
from jax._src.lib import xla_client
from jax.experimental import multihost_utils
import numpy as np

from . import faults
from . import node_status
from . import shutdown

# Heartbeat period in seconds, and how many of them may be missing.
_HEARTBEAT_SECS = 1
_MAX_MISSING_HEARTBEATS = 15
# Time for the other hosts to read why host 0 ends; it runs the service.
_TELLING_SECS = 2.

# Gloo listens at the machine's name, for which JAX has no option.
_MAKE_GLOO = xla_client._xla.make_gloo_tcp_collectives  # pylint: disable=protected-access

_ROOM = 'acme_msg/'
_FOREVER_MS = 2**31 - 1


def tell(key: str, value: str) -> None:
  """Stores a text for all hosts that have joined."""
  distributed.global_state.client.key_value_set(_ROOM + key, value)


def ask(key: str, timeout_secs: float) -> str:
  """Waits for the text that a host stores under a key, and returns it.

  Raises:
    jax.errors.JaxRuntimeError: if no host stores it in time.
  """
  return distributed.global_state.client.blocking_key_value_get(
      _ROOM + key, round(1000 * timeout_secs))


class Hosts:
  """The learner's hosts, seen from one host.

  A context manager: an error that leaves it on one host ends all hosts, with a
  message that names the host.

  Attributes:
    index: this host's index; host 0 alone logs and serves evaluators.
    count: H, the number of hosts.
    stop: the program's stop event; without a program it is never set.
  """

  def __init__(self, index: int = 0, count: int = 1):
    """Initializes one of several hosts that have joined; by default, one."""
    self.index = index
    self.count = count
    self.stop = threading.Event()
    self._name = f'learner host {index} of {count}'

  # How they agree. With one host all of this is free.

  def all_of(self, values: Sequence[int]) -> np.ndarray:
    """Returns each host's values `[H, K]`; all hosts must call it together."""
    if self.count == 1:
      return np.asarray([values])
    return multihost_utils.process_allgather(np.asarray(values))

  def any(self, value: bool) -> bool:
    """Returns whether `value` is true on any host; all must call it."""
    return bool(self.all_of([value]).any())

  def check(self) -> None:
    """Raises `shutdown.Stopped` on all hosts if one is told to stop."""
    if self.any(self.stop.is_set()):
      raise shutdown.Stopped()

  def wait(self, is_done: Callable[[], bool]) -> None:
    """Waits until something is done on all hosts.

    Args:
      is_done: polled until it returns True.

    Raises:
      shutdown.Stopped: on all hosts, if one is told to stop first.
    """
    while True:
      waiting, stopped = self.all_of(
          [not is_done(), self.stop.is_set()]).any(axis=0)
      if not waiting:
        return
      if stopped:
        raise shutdown.Stopped()
      time.sleep(0.05)

  # How they end.

  def __enter__(self) -> 'Hosts':
    if self.count > 1:
      self._name += f' ({socket.gethostname()}, pid {os.getpid()})'
      print(f'[learner] {self._name} has {jax.local_device_count()} of '
            f'{jax.device_count()} devices; JAX calls it task:{self.index}',
            flush=True)
      self._watcher = threading.Thread(target=self._watch, daemon=True)
      self._watcher.start()
    return self

  def __exit__(self, error_type, error, trace) -> None:
    if self.count == 1:
      return
    if error is not None:
      node_status.print_error(error)
      self._fail(error)
    tell(f'end/{self.index}', '')
    # It uses the client that is shut down here.
    self._watcher.join(timeout=60.)
    jax.distributed.shutdown()

  def _watch(self) -> None:
    """Ends this process once another host tells that it has failed."""
    try:
      why = ask(f'end/{self.index}', _FOREVER_MS / 1000)
    except jax.errors.JaxRuntimeError:
      return  # Host 0 is gone; JAX ends this process.
    if why:
      self._end(why)

  def _fail(self, error: BaseException) -> None:
    """Ends all hosts because of an error on this one."""
    # XLA raises a failed collective as a ValueError or a JaxRuntimeError, whose
    # text begins with a status code in both cases. It most likely fails because
    # another host has. That host reports its error, or JAX detects that it is
    # dead.
    if not faults.explain(error) and re.match('[A-Z_]+: ', str(error)):
      self.stop.wait((_MAX_MISSING_HEARTBEATS + 5) * _HEARTBEAT_SECS)
    why = f'{self._name} failed: {node_status.one_line(error)}'
    for host in range(self.count):
      if host != self.index:
        try:
          tell(f'end/{host}', why)
        except jax.errors.JaxRuntimeError:
          pass  # Another host told first, or has left.
    if self.index == 0:
      time.sleep(_TELLING_SECS)
    self._end(why)

  def _end(self, why: str) -> None:
    print(f'[learner] {why.rstrip(".")}. All hosts end; the last checkpoint is '
          'kept, and the same launch resumes from it.', flush=True)
    node_status.failed(why)
    os._exit(1)  # JAX waits for the other hosts at a regular exit.


def check_port(coordinator_address: str) -> None:
  """Raises ValueError if host 0, which calls it, cannot listen at its port.

  JAX would end the process by a segmentation fault.
  """
  port = int(coordinator_address.rpartition(':')[2])
  try:
    if socket.has_dualstack_ipv6():
      socket.create_server(
          ('', port), family=socket.AF_INET6, dualstack_ipv6=True).close()
    else:
      socket.create_server(('', port)).close()
  except OSError as e:
    raise ValueError(
        f'coordinator_address={coordinator_address!r}: port {port} of '
        f'{socket.gethostname()} cannot be used ({e.strerror}). Name a free '
        'port of host 0, or wait until the other program has ended.') from e


def join(coordinator_address: str, num_processes: int, process_id: int,
         timeout: float = 300.) -> Hosts:
  """Joins the hosts of a learner; JAX then has the devices of all of them.

  Must be called before JAX runs anything, in the main thread.

  Args:
    coordinator_address: 'host:port' on the machine of process 0.
    num_processes: H.
    process_id: this host's index.
    timeout: seconds to wait for the others. The process ends after that,
      because the waiting cannot be interrupted.

  Returns:
    The hosts.

  Raises:
    ValueError: on host 0, if its port is in use.
  """
  if num_processes == 1:
    return Hosts()
  if process_id == 0:
    check_port(coordinator_address)

  def give_up():
    why = (f'not all learner hosts came to {coordinator_address} within '
           f'{timeout:g} s. Do all of them run, with the same address and '
           f'number of processes? This one is process {process_id} of '
           f'{num_processes} on {socket.gethostname()}')
    print(f'[learner] {why}.', flush=True)
    node_status.failed(why)
    os._exit(1)

  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  bind_address = None
  if coordinator_address.rpartition(':')[0] == 'localhost':
    # All hosts are processes of this machine, which nobody else should reach.
    bind_address = coordinator_address
    xla_client._xla.make_gloo_tcp_collectives = functools.partial(  # pylint: disable=protected-access
        _MAKE_GLOO, hostname='localhost')
  timer = threading.Timer(timeout, give_up)
  timer.daemon = True
  timer.start()
  print(f'[learner] waiting for {num_processes} learner hosts at '
        f'{coordinator_address}, at most {timeout:g} s ...', flush=True)
  distributed.global_state.initialize(
      coordinator_address, num_processes, process_id,
      # Otherwise SLURM or Open MPI decide which devices are this process's.
      cluster_detection_method='deactivate',
      initialization_timeout=round(timeout) + 60,
      coordinator_bind_address=bind_address,
      service_heartbeat_interval_seconds=_HEARTBEAT_SECS,
      service_max_missing_heartbeats=_MAX_MISSING_HEARTBEATS,
      client_heartbeat_interval_seconds=_HEARTBEAT_SECS,
      client_max_missing_heartbeats=_MAX_MISSING_HEARTBEATS)
  timer.cancel()
  # JAX takes SIGTERM to itself; Python's handler is how a program is stopped.
  signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
  return Hosts(process_id, num_processes)
