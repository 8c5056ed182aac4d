"""The hosts that one learner is spread over: how they join, agree and fail.

Each host runs one process, and all of them run the same steps at the same time:
a collective waits for everybody. So they must agree on everything that does not
follow from their common state, such as when to stop, and must not outlive a
host that fails.
"""

import os
import re
import signal
import socket
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence

import jax
# The client has what a program's hosts tell each other, and no public name.
from jax._src import distributed
from jax.experimental import multihost_utils
import numpy as np

from . import shutdown

# Seconds between two signs of life, and without any until a host counts as
# lost: while all goes well, and once a collective has failed or the program
# ends, as it does where a launcher has seen the host die.
_BEAT = 1.
_SILENCE = 30.
_SILENCE_AT_END = 5.

_ROOM = 'acme_msg/hosts/'


class Hosts:
  """The hosts of a learner as one of them sees them.

  A context manager: what ends one host with an error while it is entered ends
  all of them, with a message that names the host. Left to itself, JAX would
  have the failed host wait for the others at exit, and the others for it.

  Attributes:
    index: this host among them; host 0 alone logs, and serves evaluators.
    count: H.
    stop: the program's stop event; nobody sets it outside of a program.
  """

  def __init__(self, index: int = 0, count: int = 1):
    """Makes one of several hosts that have joined; by default one alone."""
    self.index = index
    self.count = count
    self.stop = threading.Event()
    self._left = threading.Event()
    self._ending = threading.Lock()
    self._failed: Dict[int, str] = {}
    self._seen: Dict[int, Any] = {}  # Last sign of life, and when.
    self._names: List[str] = [socket.gethostname()]

  # How they agree. With one host nothing of this costs anything.

  def all_of(self, values: Sequence[int]) -> np.ndarray:
    """Returns each host's values `[H, K]`; all must ask at the same time."""
    if self.count == 1:
      return np.asarray([values])
    return multihost_utils.process_allgather(np.asarray(values))

  def any(self, value: bool) -> bool:
    """Returns whether it is true on any host; all must ask."""
    return bool(self.all_of([value]).any())

  def check(self) -> None:
    """Raises `lifetime.Stopped` on all hosts if one is told to stop."""
    if self.any(self.stop.is_set()):
      raise shutdown.Stopped()

  def wait(self, is_done: Callable[[], bool]) -> None:
    """Waits until something is done on all hosts.

    Args:
      is_done: asked again and again.

    Raises:
      shutdown.Stopped: on all hosts, if one was told to stop first.
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
      self._meet()
      # Python handles signals in the main thread, which may be waiting in a
      # collective for ever. This tells the other thread of them in any case.
      self._signals, write = socket.socketpair()
      self._signals.setblocking(False)
      write.setblocking(False)
      signal.set_wakeup_fd(write.detach(), warn_on_full_buffer=False)
      self._watcher = threading.Thread(target=self._watch, daemon=True)
      self._watcher.start()
    return self

  def __exit__(self, error_type, error, trace) -> None:
    if self.count == 1:
      return
    if error is not None:
      self._fail(error)
    self._left.set()
    self._watcher.join()  # It uses what is shut down here.
    _tell('left', self.index, 'well')
    jax.distributed.shutdown()

  def _describe(self, host: int) -> str:
    return f'learner host {host} of {self.count} ({self._names[host]})'

  def _meet(self) -> None:
    """Learns the others' names."""
    client = distributed.global_state.client
    _tell('name', self.index, f'{socket.gethostname()}, pid {os.getpid()}')
    self._names = [
        client.blocking_key_value_get(f'{_ROOM}name/{host}', 60_000)
        for host in range(self.count)]
    now = time.time()
    self._seen = {host: ('', now) for host in range(self.count)}
    print(f'[learner] {self._describe(self.index)} has '
          f'{jax.local_device_count()} of {jax.device_count()} devices',
          flush=True)

  def _watch(self) -> None:
    """Shows that this host lives, and ends it once another one does not."""
    beats, silence = 0, _SILENCE
    while not self._left.wait(_BEAT):
      beats += 1
      try:
        _tell('beat', self.index, str(beats))
        self._look()
      except jax.errors.JaxRuntimeError:
        # The client gives up, or JAX ends the process: host 0 is gone.
        self._failed.setdefault(0, 'it does not answer')
      if signal.SIGTERM in self._received():
        silence = _SILENCE_AT_END
      lost = self._lost(silence)
      if lost and self.index not in self._failed:
        self._end(lost)

  def _received(self) -> bytes:
    """Returns the numbers of signals that came since it was last asked."""
    try:
      return self._signals.recv(1024)
    except BlockingIOError:
      return b''

  def _look(self) -> None:
    now = time.time()
    for host, beat in _told('beat').items():
      if host in self._seen and beat != self._seen[host][0]:
        self._seen[host] = (beat, now)
    self._failed.update(_told('failed'))
    for host in _told('left'):
      self._seen.pop(host, None)

  def _lost(self, silence: float) -> str:
    """Returns which other host has failed or fallen silent; or nothing."""
    for host, what in self._failed.items():
      if host != self.index:
        return f'{self._describe(host)} failed: {what}'
    for host, (_, when) in list(self._seen.items()):
      if host != self.index and time.time() - when > silence:
        return (f'{self._describe(host)} was lost: no sign of life for '
                f'{time.time() - when:.0f} s')
    return ''

  def _fail(self, error: BaseException) -> None:
    """Ends this host for an error, which may be another one's."""
    if re.match('[A-Z_]+: ', str(error)):
      # The code of an error of XLA's, whatever its type: most likely of a
      # collective that another host did not take part in.
      deadline = time.time() + _SILENCE_AT_END + 2 * _BEAT
      while time.time() < deadline:
        lost = self._lost(_SILENCE_AT_END)
        if lost:
          self._end(lost)
        time.sleep(_BEAT / 2)
    what = ''.join(traceback.format_exception_only(type(error), error)).strip()
    self._failed[self.index] = what
    traceback.print_exception(type(error), error, error.__traceback__)
    try:
      _tell('failed', self.index, what)
    except jax.errors.JaxRuntimeError:
      pass  # Host 0 keeps the notes, and is gone.
    self._end(f'{self._describe(self.index)} failed: {what}')

  def _end(self, why: str) -> None:
    self._ending.acquire()  # One reason is enough.
    print(f'[learner] {why}. All hosts end; start again to resume from the '
          'last checkpoint.', flush=True)
    if self.index == 0:
      time.sleep(3 * _BEAT)  # JAX ends the others when this one goes.
    os._exit(1)  # JAX would wait for the others at a regular exit.


def _tell(what: str, host: int, value: str) -> None:
  distributed.global_state.client.key_value_set(
      f'{_ROOM}{what}/{host}', value, allow_overwrite=True)


def _told(what: str) -> Dict[int, str]:
  pairs = distributed.global_state.client.key_value_dir_get(_ROOM + what)
  return {int(key.rsplit('/', 1)[1]): value for key, value in pairs}


def alone() -> Hosts:
  """Returns the only host of a learner."""
  return Hosts()


def check(coordinator_address: Optional[str], num_processes: Optional[int],
          process_id: Optional[int]) -> None:
  """Raises ValueError if `join` cannot be called with these arguments."""
  arguments = {'coordinator_address': coordinator_address,
               'num_processes': num_processes, 'process_id': process_id}
  missing = [name for name, value in arguments.items() if value is None]
  if len(missing) == 3:
    return
  if missing:
    raise ValueError(
        f'{" and ".join(missing)} must be given as well: name all of '
        f'{", ".join(arguments)}, or none to ask the environment.')
  if not 0 <= process_id < num_processes:
    raise ValueError(f'process_id={process_id} must be at least 0 and less '
                     f'than num_processes={num_processes}.')
  if not coordinator_address.rpartition(':')[2].isdigit():
    raise ValueError(f'coordinator_address={coordinator_address!r} must be '
                     "'host:port'.")


def join(coordinator_address: Optional[str] = None,
         num_processes: Optional[int] = None,
         process_id: Optional[int] = None,
         timeout: float = 300.) -> Hosts:
  """Joins the hosts of a learner; JAX then has the devices of all of them.

  Call it before JAX does anything, in the main thread, with all arguments or
  none. Without arguments JAX asks the environment: the metadata of a TPU slice,
  SLURM, Open MPI.

  Args:
    coordinator_address: 'host:port' on the machine of process 0.
    num_processes: H.
    process_id: this host's index.
    timeout: seconds to wait for the others; the process ends after that, as
      nothing can interrupt the waiting.

  Returns:
    The hosts.

  Raises:
    ValueError: if some arguments are missing or make no sense, or if there are
      none and the environment does not tell.
  """
  check(coordinator_address, num_processes, process_id)
  arguments = {'coordinator_address': coordinator_address,
               'num_processes': num_processes, 'process_id': process_id}
  if num_processes is not None:
    if num_processes == 1:
      return alone()
    # Else SLURM's or Open MPI's idea of this process's devices would count.
    arguments['cluster_detection_method'] = 'deactivate'

  def give_up():
    where = coordinator_address or 'the coordinator that the environment names'
    print(f'[learner] not all learner hosts came to {where} within '
          f'{timeout:g} s. Do all of them run, with the same address and '
          f'number of processes? This one is process {process_id} of '
          f'{num_processes} on {socket.gethostname()}.', flush=True)
    os._exit(1)

  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  timer = threading.Timer(timeout, give_up)
  timer.start()
  try:
    jax.distributed.initialize(
        **arguments, initialization_timeout=round(timeout) + 60)
  except ValueError as error:
    raise ValueError(
        'The environment does not tell which hosts there are '
        f'({error}) Give coordinator_address, num_processes and process_id.'
    ) from error
  finally:
    timer.cancel()
  # JAX takes SIGTERM to itself, which is how a program is told to stop.
  signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
  return Hosts(jax.process_index(), jax.process_count())
