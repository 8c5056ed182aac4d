"""How critics are divided over devices, and the collectives.

Collectives stand here and nowhere else; `parallel` runs programs of them.

Each of D devices runs the same program on its part of the critics: N/D members
and the whole batch (`shard_over='members'`), or all members and B/D rows
(`shard_over='batch'`). Everything else is replicated and stays bit-equal.

Losses never differentiate through a collective. Where a value needs all
devices, the sum is global going forward and local going backward
(`_sum_forward`); where many devices use one array, its cotangents are summed
going backward (`_sum_backward`). Together they give the exact gradient.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

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


def all_rows_of_minibatches(tree: Any, batch_size: int, num_hosts: int) -> Any:
  """Puts minibatches together from the rows that each device was given.

  Args:
    tree: on each device, `[S, b, ...]` rows of S minibatches, of which a host's
      last devices may hold some too many.
    batch_size: B.
    num_hosts: H; each has B/H rows of each minibatch.

  Returns:
    The same on all devices: `[S, B, ...]`, rows in the order of hosts.
  """
  def gather(x):
    rows = jnp.moveaxis(jax.lax.all_gather(x, AXIS), 0, 1)  # [S, D, b, ...]
    steps, shape = x.shape[0], x.shape[2:]
    rows = rows.reshape((steps, num_hosts, -1) + shape)
    return rows[:, :, :batch_size // num_hosts].reshape(
        (steps, batch_size) + shape)
  return jax.tree.map(gather, tree)


def take_rows(tree: Any, rows: jax.Array) -> Any:
  """Takes rows of arrays whose rows are split over devices.

  Args:
    tree: on each device, C rows `[C, ...]` of numbers.
    rows: indices into the `D * C` rows, the same on all devices, `[B]`.

  Returns:
    The rows, the same on all devices: `[B, ...]`. Each comes from one device,
    and the others add zeros to it.
  """
  def own(x):
    size = x.shape[0]
    local = rows - jax.lax.axis_index(AXIS) * size
    is_here = (local >= 0) & (local < size)
    found = x[jnp.clip(local, 0, size - 1)]
    is_here = is_here.reshape(is_here.shape + (1,) * (x.ndim - 1))
    return jnp.where(is_here, found, jnp.zeros_like(found))
  return jax.lax.psum(jax.tree.map(own, tree), AXIS)
