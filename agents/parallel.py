"""The parallel map: runs programs on devices, of one host or of several.

Nothing else knows which of JAX's maps it is. The D devices may be those of H
hosts that `jax.distributed` has joined: each host's process then runs the same
lines at the same time, and puts and reads the parts of its own D/H devices.
"""

from typing import Any, Callable, Optional, Sequence, Tuple
import zlib

import jax
from jax.experimental import multihost_utils
import numpy as np

from . import sharding

# The maps to choose from; they give the same numbers.
PARALLEL_MAPS = ('pmap', 'shard_map')


def compile_program(
    program: Callable[..., Tuple[Any, Any]], devices: Sequence[Any],
    kind: str = 'pmap', donate_argnums: Tuple[int, ...] = (),
) -> Callable[..., Any]:
  """Compiles a program to run on D devices.

  Args:
    program: maps each device's part of the arguments to what stays on the
      device and what is the same on all devices.
    devices: the D devices. With 'shard_map' the result can also be lowered for
      devices that are only described, such as a TPU topology's.
    kind: one of `PARALLEL_MAPS`.
    donate_argnums: the arguments whose memory the results may take.

  Returns:
    The same for arguments `[D, ...]`, with results `[D, ...]` and `[...]`.
  """
  if kind == 'pmap':
    return jax.pmap(
        program, axis_name=sharding.AXIS, devices=devices,
        out_axes=(0, None), donate_argnums=donate_argnums)

  def on_device(*args):
    kept, common = program(*jax.tree.map(lambda x: x.squeeze(0), args))
    return jax.tree.map(lambda x: x[None], kept), common

  split = split_sharding(devices)
  # Copies are the same by construction, which the check cannot see.
  return jax.jit(
      jax.shard_map(
          on_device, mesh=split.mesh, in_specs=split.spec,
          out_specs=(split.spec, jax.sharding.PartitionSpec()),
          check_vma=False),
      donate_argnums=donate_argnums)


def split_sharding(devices: Sequence[Any]) -> jax.sharding.NamedSharding:
  """Returns the sharding of arrays `[D, ...]`, one row per device."""
  return jax.sharding.NamedSharding(
      jax.sharding.Mesh(np.asarray(devices), (sharding.AXIS,)),
      jax.sharding.PartitionSpec(sharding.AXIS))


class ParallelMap:
  """Runs programs on D devices, and puts arrays there and reads them.

  What a program is given and what it keeps on the devices is `[D, ...]`. By
  `pmap` each of H hosts sees the `[D/H, ...]` of its own devices of it, and by
  `shard_map` one array that is spread over all of them.

  Attributes:
    num_devices: D.
    num_hosts: H.
  """

  def __init__(self, devices: Optional[Sequence[Any]] = None,
               kind: str = 'pmap'):
    """Takes the devices.

    Args:
      devices: those to run on, the same on each host; by default all of all
        hosts.
      kind: one of `PARALLEL_MAPS`.

    Raises:
      ValueError: if there is no such map, or if hosts differ in the number of
        their devices.
    """
    if kind not in PARALLEL_MAPS:
      raise ValueError(
          f'parallel_map={kind!r} is not one of {PARALLEL_MAPS}.')
    # Neighbours on a host are neighbours here, wherever a device's number
    # comes from.
    self._devices = sorted(
        devices or jax.devices(), key=lambda d: d.process_index)
    self._kind = kind
    hosts = [device.process_index for device in self._devices]
    counts = {host: hosts.count(host) for host in hosts}
    self.num_devices, self.num_hosts = len(hosts), len(counts)
    if len(set(counts.values())) > 1 or (
        self.num_hosts not in (1, jax.process_count())):
      raise ValueError(
          'Each of the hosts must have the same number of devices in the '
          f'learner, but of {jax.process_count()} hosts these have '
          f'{counts} (by number of host).')
    self._num_local = self.num_devices // self.num_hosts
    self._first_local = hosts.index(
        jax.process_index() if self.num_hosts > 1 else hosts[0])

  def compile(self, program: Callable[..., Tuple[Any, Any]],
              donate_argnums: Tuple[int, ...] = ()) -> Callable[..., Any]:
    """Compiles a program to run on all devices; see `compile_program`."""
    return compile_program(program, self._devices, self._kind, donate_argnums)

  def put(self, tree: Any) -> Any:
    """Puts this host's `[D/H, ...]` on its devices: `[D, ...]` over all."""
    if self._kind == 'pmap':
      # By the same axis as programs': else newer JAX takes what they return
      # for another kind of argument, and compiles them twice.
      return jax.pmap(lambda x: x, axis_name=sharding.AXIS,
                      devices=self._devices)(tree)

    split = split_sharding(self._devices)

    def to_devices(x):
      def part(index):
        row = index[0].start - self._first_local if self.num_devices > 1 else 0
        return x[row:row + 1]
      return jax.make_array_from_callback(
          (self.num_devices,) + x.shape[1:], split, part)
    return jax.tree.map(to_devices, tree)

  def replicate(self, tree: Any) -> Any:
    """Puts a copy on each device: `[...] -> [D, ...]`."""
    return self.put(jax.tree.map(self._copies, tree))

  def _copies(self, x: Any) -> np.ndarray:
    return np.broadcast_to(x, (self._num_local,) + np.shape(x))

  def local_parts(self, x: np.ndarray, axis: int) -> np.ndarray:
    """Divides this host's rows, `[..., R, ...]` on `axis`, over its devices.

    Returns:
      `[D/H, ..., r, ...]`, r being the least that has room for all; the last
      devices' rest is zero.
    """
    rest = -x.shape[axis] % self._num_local
    if rest:
      widths = [(0, 0)] * x.ndim
      widths[axis] = (0, rest)
      x = np.pad(x, widths)
    return np.stack(np.split(x, self._num_local, axis))

  def split_rows(self, tree: Any) -> Any:
    """Spreads rows over devices: `[T, ...] -> [D, C, ...]`.

    C is the least that has room for all; the last devices' rest is zero.
    """
    def own(x):
      size = -(-len(x) // self.num_devices)
      parts = np.zeros((self._num_local, size) + x.shape[1:], x.dtype)
      rows = x[self._first_local * size:][:self._num_local * size]
      parts.reshape((-1,) + x.shape[1:])[:len(rows)] = rows
      return parts
    return self.put(jax.tree.map(own, tree))

  def split(self, tree: Any, is_split: Any) -> Any:
    """Puts a tree of global shapes on the devices.

    Args:
      tree: arrays, those that are split with a leading axis that D divides;
        each host has all of them, or they are as from `global_arrays`.
      is_split: tree of bool, like `tree`.

    Returns:
      `[D, M/D, ...]` for split arrays `[M, ...]`, `[D, ...]` for the others.
    """
    def own(x, member):
      if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return np.stack([shard.data for shard in x.addressable_shards])
      x = np.asarray(x)
      if not member:
        return self._copies(x)
      parts = x.reshape((self.num_devices, -1) + x.shape[1:])
      return parts[self._first_local:][:self._num_local]
    return self.put(jax.tree.map(own, tree, is_split))

  def global_arrays(self, tree: Any, is_split: Any) -> Any:
    """The inverse of `split`, with what is split staying where it is.

    Args:
      tree: arrays `[D, ...]`.
      is_split: tree of bool, like `tree`.

    Returns:
      A `jax.Array` `[M, ...]` over all devices of all hosts for each split
      array, of which each device holds M/D rows, and NumPy arrays `[...]` for
      the others.
    """
    def join(x, member):
      parts = [shard.data for shard in x.addressable_shards]
      if not member:
        return np.asarray(parts[0])[0]
      parts = [part.squeeze(0) for part in parts]
      shape = (self.num_devices * len(parts[0]),) + parts[0].shape[1:]
      return jax.make_array_from_single_device_arrays(
          shape, split_sharding(self._devices), parts)
    return jax.tree.map(join, tree, is_split)

  def gather(self, tree: Any, is_split: Any) -> Any:
    """The inverse of `split`, as NumPy arrays on the host.

    Where there are several hosts and something is split, all of them must ask
    at the same time, and each gets all of it.
    """
    def get(x):
      if isinstance(x, jax.Array) and self.num_hosts > 1:
        return multihost_utils.process_allgather(x, tiled=True)
      return np.asarray(x)
    return jax.tree.map(get, self.global_arrays(tree, is_split))

  def assert_is_replicated(self, tree: Any):
    """Raises AssertionError if devices differ in what they should share.

    Where there are several hosts, all of them must ask at the same time; they
    compare checksums of their arrays.

    Args:
      tree: arrays `[D, ...]`.
    """
    names, checksums = [], []
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
      copies = [np.asarray(shard.data) for shard in x.addressable_shards]
      names.append(jax.tree_util.keystr(path))
      checksums.append(zlib.crc32(copies[0].tobytes()))
      for i, copy in enumerate(copies):
        if not np.array_equal(copy, copies[0], equal_nan=True):
          raise AssertionError(
              f'{names[-1]} should be the same on all devices, but device {i} '
              'differs from device 0.')
    if self.num_hosts > 1 and names:
      of_hosts = multihost_utils.process_allgather(
          np.asarray(checksums, np.uint32))
      for host, row in enumerate(of_hosts):
        for name, ours, first in zip(names, row, of_hosts[0]):
          if ours != first:
            raise AssertionError(
                f'{name} should be the same on all hosts, but host {host} '
                'differs from host 0.')
