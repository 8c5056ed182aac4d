"""Runs programs on the devices of one or several hosts (docs/msg.md 9.1).

Shapes: `D` devices, `H` hosts.

Only this module knows which of JAX's maps is used. If `jax.distributed` has
connected H hosts, the process of each host runs the same code at the same time
and handles the D/H devices that are its own.
"""

from typing import Any, Callable, Optional, Sequence, Tuple
import zlib

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from . import sharding

# JAX's maps to choose from. Their results are the same.
PARALLEL_MAPS = ('pmap', 'shard_map')


def compile_program(
    program: Callable[..., Tuple[Any, Any]], devices: Sequence[Any],
    kind: str = 'pmap', donate_argnums: Tuple[int, ...] = (),
) -> Callable[..., Any]:
  """Compiles a program to run on D devices.

  Args:
    program: maps one device's part of the arguments to a result that stays on
      the device and a result that is the same on all devices.
    devices: the D devices. With 'shard_map' the result can also be lowered for
      devices that are only described, such as a TPU topology's.
    kind: one of `PARALLEL_MAPS`.
    donate_argnums: arguments whose memory the results may take.

  Returns:
    The program for arguments `[D, ...]`, with results `[D, ...]` and `[...]`.
  """
  if kind == 'pmap':
    return jax.pmap(
        program, axis_name=sharding.AXIS, devices=devices,
        out_axes=(0, None), donate_argnums=donate_argnums)

  def on_device(*args):
    kept, common = program(*jax.tree.map(lambda x: x.squeeze(0), args))
    return jax.tree.map(lambda x: x[None], kept), common

  split = split_sharding(devices)
  # `check_vma` cannot see that the second result is the same everywhere.
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


def raw_key(key: Any) -> jax.Array:
  """Returns a random key as plain numbers, such as a state holds.

  Args:
    key: from `jax.random.PRNGKey` or from `jax.random.key`.

  Raises:
    ValueError: if it is of another kind than JAX's default.
  """
  if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    return key
  found, default = map(jax.random.key_impl, (key, jax.random.key(0)))
  if found != default:
    raise ValueError(
        f'The random key is of the kind {found}, but JAX draws with {default}; '
        "use jax.random.key(seed), or change JAX's jax_default_prng_impl.")
  return jax.random.key_data(key)


class ParallelMap:
  """Runs programs on D devices, and puts and reads their arrays.

  Arguments and results of programs are `[D, ...]`. With `pmap` each host sees
  the part `[D/H, ...]` of its own devices; with `shard_map` it sees one array
  over all devices.

  Attributes:
    num_devices: D.
    num_hosts: H.
  """

  def __init__(self, devices: Optional[Sequence[Any]] = None,
               kind: str = 'pmap'):
    """Initialises the map.

    Args:
      devices: where to run, the same list on each host; None is all devices of
        all hosts.
      kind: one of `PARALLEL_MAPS`.

    Raises:
      ValueError: if there is no such map, or if hosts have different numbers of
        devices.
    """
    if kind not in PARALLEL_MAPS:
      raise ValueError(
          f'parallel_map={kind!r} is not one of {PARALLEL_MAPS}.')
    # Devices of a host must be adjacent, whatever their identifiers are.
    self._devices = sorted(
        devices or jax.devices(), key=lambda d: d.process_index)
    self._kind = kind
    hosts = [device.process_index for device in self._devices]
    counts = {host: hosts.count(host) for host in hosts}
    self.num_devices, self.num_hosts = len(hosts), len(counts)
    if len(set(counts.values())) > 1 or (
        self.num_hosts not in (1, jax.process_count())):
      raise ValueError(
          'All hosts must have the same number of devices in the learner, but '
          f'their numbers are {counts} (by host, of {jax.process_count()} '
          'hosts).')
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
      # The same axis name as in programs, or newer versions of JAX compile
      # programs again for the arrays that they return.
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
      `[D/H, ..., r, ...]`, with R padded by zeros to a multiple of D/H.
    """
    rest = -x.shape[axis] % self._num_local
    if rest:
      widths = [(0, 0)] * x.ndim
      widths[axis] = (0, rest)
      x = np.pad(x, widths)
    return np.stack(np.split(x, self._num_local, axis))

  def split_rows(self, tree: Any) -> Any:
    """Divides rows over devices: `[T, ...] -> [D, C, ...]`.

    T is padded by zeros to a multiple of D.
    """
    def own(x):
      size = -(-len(x) // self.num_devices)
      parts = np.zeros((self._num_local, size) + x.shape[1:], x.dtype)
      rows = x[self._first_local * size:][:self._num_local * size]
      parts.reshape((-1,) + x.shape[1:])[:len(rows)] = rows
      return parts
    return self.put(jax.tree.map(own, tree))

  def split(self, tree: Any, is_split: Any) -> Any:
    """Puts arrays of global shapes on the devices.

    Args:
      tree: whole arrays on each host, or arrays from `global_arrays`.
      is_split: tree of bool like `tree`: which arrays are split over devices
        along their first axis, which D must divide.

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
    """The inverse of `split`; split arrays stay on their devices.

    Args:
      tree: arrays `[D, ...]`.
      is_split: tree of bool like `tree`.

    Returns:
      `jax.Array`s `[M, ...]` over the devices of all hosts for split arrays,
      NumPy arrays `[...]` for the others.
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
    """The inverse of `split`, as whole NumPy arrays on each host.

    If there are several hosts and split arrays, all hosts must call this at the
    same time.
    """
    def get(x):
      if isinstance(x, jax.Array) and self.num_hosts > 1:
        return multihost_utils.process_allgather(x, tiled=True)
      return np.asarray(x)
    return jax.tree.map(get, self.global_arrays(tree, is_split))

  def assert_is_replicated(self, tree: Any):
    """Raises AssertionError if arrays differ between devices.

    If there are several hosts, all of them must call this at the same time;
    they compare checksums.

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
