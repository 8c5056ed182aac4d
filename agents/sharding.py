"""The parallel map over devices and its collectives; nothing else knows them.

Each of D devices runs the same program on its part of the critics: N/D members
and the whole batch (`shard_over='members'`), or all members and B/D rows
(`shard_over='batch'`). Everything else is replicated and stays bit-equal.

Losses never differentiate through a collective. Where a value needs all
devices, the sum is global going forward and local going backward
(`_sum_forward`); where many devices use one array, its cotangents are summed
going backward (`_sum_backward`). Together they give the exact gradient.
"""

import dataclasses
from typing import Any, Callable, Sequence, Tuple

import jax
import jax.numpy as jnp
import numpy as np

AXIS = 'devices'


@jax.custom_vjp
def _sum_forward(x):
  return jax.lax.psum(x, AXIS)


_sum_forward.defvjp(lambda x: (_sum_forward(x), None), lambda _, g: (g,))


@jax.custom_vjp
def _sum_backward(x):
  return x


_sum_backward.defvjp(
    lambda x: (x, None), lambda _, g: (jax.lax.psum(g, AXIS),))


@dataclasses.dataclass(frozen=True)
class Shard:
  """What one device holds of the critics, and how it asks the others.

  Attributes:
    num_devices: D.
    num_members: N.
    shard_over: 'members' or 'batch'.
  """
  num_devices: int
  num_members: int
  shard_over: str

  @property
  def _members_split(self) -> bool:
    return self.shard_over == 'members' and self.num_devices > 1

  @property
  def _batch_split(self) -> bool:
    return self.shard_over == 'batch' and self.num_devices > 1

  @property
  def num_local_members(self) -> int:
    """n, the members on each device."""
    return self.num_members // (self.num_devices if self._members_split else 1)

  @property
  def first_member(self):
    """The index of this device's first member."""
    if not self._members_split:
      return 0
    return jax.lax.axis_index(AXIS) * self.num_local_members

  def local_members(self, x: jax.Array) -> jax.Array:
    """This device's part of an array with members in front, `[N, ...]`."""
    if not self._members_split:
      return x
    return jax.lax.dynamic_slice_in_dim(
        x, self.first_member, self.num_local_members)

  def local_rows(self, x: jax.Array, axis: int = 0) -> jax.Array:
    """This device's part of an array with batch rows on `axis`."""
    if not self._batch_split:
      return x
    size = x.shape[axis] // self.num_devices
    return jax.lax.dynamic_slice_in_dim(
        x, jax.lax.axis_index(AXIS) * size, size, axis)

  def sum_over_members(self, x: jax.Array) -> jax.Array:
    """Sums `[n, ...]` over all N members; differentiable."""
    local = jnp.sum(x, axis=0)
    return _sum_forward(local) if self._members_split else local

  def mean_over_members(self, x: jax.Array) -> jax.Array:
    """Averages `[n, ...]` over all N members; differentiable."""
    return self.sum_over_members(x) / self.num_members

  def min_over_members(self, x: jax.Array) -> jax.Array:
    """The least of all N members of `[n, ...]`.

    The first of the least members has all of the gradient. It is found by its
    index: values may differ in their last bits where the compiler computes
    them once for the minimum and once more for a comparison with it.
    """
    index = jnp.argmin(x, axis=0)
    own = jnp.take_along_axis(x, index[None], axis=0)[0]
    if not self._members_split:
      return own
    of_devices = jax.lax.all_gather(jax.lax.stop_gradient(own), AXIS)
    owner = jnp.argmin(of_devices, axis=0) == jax.lax.axis_index(AXIS)
    return _sum_forward(jnp.where(owner, own, 0.))

  def mean_over_batch(self, x: jax.Array) -> jax.Array:
    """Averages over devices what is a mean over this device's rows."""
    return jax.lax.pmean(x, AXIS) if self._batch_split else x

  def all_members(self, x: jax.Array) -> jax.Array:
    """All members' values of `[S, n]` means over local rows: `[S, N]`."""
    if self._batch_split:
      return jax.lax.pmean(x, AXIS)
    return (jax.lax.all_gather(x, AXIS, axis=1, tiled=True)
            if self._members_split else x)

  def all_rows(self, x: jax.Array) -> jax.Array:
    """All rows' values of local rows: `[S, b] -> [S, B]`."""
    return (jax.lax.all_gather(x, AXIS, axis=1, tiled=True)
            if self._batch_split else x)

  def shared_by_members(self, x: jax.Array) -> jax.Array:
    """Marks `x` as one array that members on all devices are given.

    Its gradient is then the sum over all members.
    """
    return _sum_backward(x) if self._members_split else x

  def joint_product(self, x: jax.Array) -> jax.Array:
    """Completes an inner product over features that devices hold parts of."""
    return _sum_forward(x) if self._members_split else x

  def reduce_gradient(self, gradient: Any, member_leaves: Any) -> Any:
    """Completes the critics' gradient from the devices' parts.

    Args:
      gradient: that of this device's part of the loss.
      member_leaves: tree of bool, like `gradient`: True for arrays that are
        split over devices, which need nothing from the others.

    Returns:
      The gradient of the loss.
    """
    if self._batch_split:
      return jax.lax.pmean(gradient, AXIS)
    if self._members_split:
      return jax.tree.map(
          lambda g, member: g if member else jax.lax.psum(g, AXIS),
          gradient, member_leaves)
    return gradient


def make_shard(critic: Any, batch_size: int, num_devices: int) -> Shard:
  """Divides critics over devices.

  Args:
    critic: a `networks.CriticEnsemble`.
    batch_size: B.
    num_devices: D.

  Returns:
    The division.

  Raises:
    ValueError: if D does not divide what is to be divided; the message lists
      the numbers that would do.
  """
  if critic.shard_over == 'batch':
    return divide_batch(batch_size, num_devices, critic.num_members)
  _check_divides(num_devices, 'ensemble_size', critic.num_members)
  return Shard(num_devices, critic.num_members, 'members')


def divide_batch(
    batch_size: int, num_devices: int, num_members: int = 1) -> Shard:
  """Divides the batch over devices; raises ValueError if that leaves a rest."""
  _check_divides(num_devices, 'batch_size', batch_size)
  return Shard(num_devices, num_members, 'batch')


def _check_divides(num_devices: int, name: str, size: int):
  if size % num_devices:
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    raise ValueError(
        f'{name}={size} cannot be divided over {num_devices} devices; use '
        f'one of {divisors} devices, or change {name}.')


def parallel_map(program: Callable[..., Any], devices: Sequence[Any],
                 donate_argnums: Tuple[int, ...] = ()) -> Callable[..., Any]:
  """Compiles `program` to run on all devices; arguments are `[D, ...]`."""
  return jax.pmap(program, axis_name=AXIS, devices=devices,
                  donate_argnums=donate_argnums)


def replicate(tree: Any, devices: Sequence[Any]) -> Any:
  """Puts a copy on each device: `[...] -> [D, ...]`."""
  copy = jax.pmap(lambda _, x: x, in_axes=(0, None), devices=devices)
  return copy(np.zeros(len(devices)), tree)


def split(tree: Any, is_split: Any, devices: Sequence[Any]) -> Any:
  """Puts a global tree on devices.

  Args:
    tree: arrays, those that are split with a leading axis that D divides.
    is_split: tree of bool, like `tree`.
    devices: the D devices.

  Returns:
    `[D, M/D, ...]` for split arrays `[M, ...]`, `[D, ...]` for the others.
  """
  num_devices = len(devices)

  def to_devices(x, member):
    x = np.asarray(x)
    if not member:
      return np.broadcast_to(x, (num_devices,) + x.shape)
    return x.reshape((num_devices, -1) + x.shape[1:])

  return jax.pmap(lambda x: x, devices=devices)(
      jax.tree.map(to_devices, tree, is_split))


def gather(tree: Any, is_split: Any) -> Any:
  """The inverse of `split`, as NumPy arrays on the host."""
  def get(x, member):
    if not member:
      return np.asarray(x.addressable_shards[0].data)[0]
    x = np.asarray(x)
    return x.reshape((-1,) + x.shape[2:])
  return jax.tree.map(get, tree, is_split)


def assert_is_replicated(tree: Any):
  """Raises AssertionError if devices differ in what they should share.

  Args:
    tree: arrays `[D, ...]`.
  """
  for path, x in jax.tree_util.tree_leaves_with_path(tree):
    copies = [np.asarray(shard.data) for shard in x.addressable_shards]
    for i, copy in enumerate(copies):
      if not np.array_equal(copy, copies[0], equal_nan=True):
        raise AssertionError(
            f'{jax.tree_util.keystr(path)} should be the same on all devices, '
            f'but device {i} differs from device 0.')
