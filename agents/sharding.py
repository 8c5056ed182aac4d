"""Division of critics over devices, and all collectives (docs/msg.md 9).

Shapes: `D` devices, `N` members of which a device holds `n`, `B` batch rows of
which a device sees `b`, `S` gradient steps.

Each device runs the same program on its part of the critics: N/D members and
the whole batch (`shard_over='members'`), or all members and B/D rows
(`shard_over='batch'`). Everything else is replicated and stays bit-equal.

Losses never differentiate through a collective. A value that needs all devices
is summed over devices in the forward pass only (`_sum_forward`). An array that
all devices use has its cotangents summed in the backward pass only
(`_sum_backward`). Together they give the exact gradient.
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
  """One device's part of the critics, and collectives with the others.

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
    """n, the number of members on each device."""
    return self.num_members // (self.num_devices if self._members_split else 1)

  @property
  def first_member(self):
    """Index of this device's first member."""
    if not self._members_split:
      return 0
    return jax.lax.axis_index(AXIS) * self.num_local_members

  def local_members(self, x: jax.Array) -> jax.Array:
    """Returns this device's part of members: `[N, ...] -> [n, ...]`."""
    if not self._members_split:
      return x
    return jax.lax.dynamic_slice_in_dim(
        x, self.first_member, self.num_local_members)

  def local_rows(self, x: jax.Array, axis: int = 0) -> jax.Array:
    """Returns this device's part of the batch rows on `axis`."""
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
    """Returns the minimum of `[n, ...]` over all N members; differentiable.

    The first of the smallest members gets the whole gradient. It is found by
    its index, because the compiler may compute values twice, with different
    rounding, for the minimum and for a comparison with it.
    """
    index = jnp.argmin(x, axis=0)
    own = jnp.take_along_axis(x, index[None], axis=0)[0]
    if not self._members_split:
      return own
    of_devices = jax.lax.all_gather(jax.lax.stop_gradient(own), AXIS)
    owner = jnp.argmin(of_devices, axis=0) == jax.lax.axis_index(AXIS)
    return _sum_forward(jnp.where(owner, own, 0.))

  def mean_over_batch(self, x: jax.Array) -> jax.Array:
    """Averages means over each device's rows to the mean over all rows."""
    return jax.lax.pmean(x, AXIS) if self._batch_split else x

  def all_members(self, x: jax.Array) -> jax.Array:
    """Gathers members' means over local rows: `[S, n] -> [S, N]`."""
    if self._batch_split:
      return jax.lax.pmean(x, AXIS)
    return (jax.lax.all_gather(x, AXIS, axis=1, tiled=True)
            if self._members_split else x)

  def all_rows(self, x: jax.Array) -> jax.Array:
    """Gathers values of batch rows: `[S, b] -> [S, B]`."""
    return (jax.lax.all_gather(x, AXIS, axis=1, tiled=True)
            if self._batch_split else x)

  def all_devices(self, condition: jax.Array) -> jax.Array:
    """Returns whether a condition holds on all devices."""
    if self.num_devices == 1:
      return condition
    return jax.lax.psum(jnp.where(condition, 0, 1), AXIS) == 0

  def shared_by_members(self, x: jax.Array) -> jax.Array:
    """Returns `x`, with a gradient that is summed over all members."""
    return _sum_backward(x) if self._members_split else x

  def joint_product(self, x: jax.Array) -> jax.Array:
    """Sums inner products over the features on each device."""
    return _sum_forward(x) if self._members_split else x

  def reduce_gradient(self, gradient: Any, member_leaves: Any) -> Any:
    """Computes the critics' gradient from that of each device's loss.

    Args:
      gradient: gradient of this device's part of the loss.
      member_leaves: tree of bool like `gradient`: which arrays are split over
        devices and so need no collective.

    Returns:
      The gradient of the whole loss.
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
    ValueError: if D does not divide the members or the batch; the message lists
      valid numbers of devices.
  """
  if critic.shard_over == 'batch':
    return divide_batch(batch_size, num_devices, critic.num_members)
  _check_divides(num_devices, 'ensemble_size', critic.num_members)
  return Shard(num_devices, critic.num_members, 'members')


def divide_batch(
    batch_size: int, num_devices: int, num_members: int = 1) -> Shard:
  """Divides the batch; raises ValueError unless D divides B."""
  _check_divides(num_devices, 'batch_size', batch_size)
  return Shard(num_devices, num_members, 'batch')


def _check_divides(num_devices: int, name: str, size: int):
  if size % num_devices:
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    raise ValueError(
        f'{name}={size} cannot be divided over {num_devices} devices; use '
        f'one of {divisors} devices, or change {name}.')


def all_rows_of_minibatches(tree: Any, batch_size: int, num_hosts: int) -> Any:
  """Gathers whole minibatches from the rows on each device.

  Args:
    tree: rows of S minibatches on each device, `[S, b, ...]`; the last rows of
      each host may be padding.
    batch_size: B.
    num_hosts: H; each host has B/H rows of each minibatch.

  Returns:
    The minibatches, `[S, B, ...]`, the same on all devices.
  """
  def gather(x):
    rows = jnp.moveaxis(jax.lax.all_gather(x, AXIS), 0, 1)  # [S, D, b, ...]
    steps, shape = x.shape[0], x.shape[2:]
    rows = rows.reshape((steps, num_hosts, -1) + shape)
    return rows[:, :, :batch_size // num_hosts].reshape(
        (steps, batch_size) + shape)
  return jax.tree.map(gather, tree)


def take_rows(tree: Any, rows: jax.Array) -> Any:
  """Takes rows of arrays whose rows are divided over devices.

  Args:
    tree: C rows on each device, `[C, ...]`.
    rows: indices into all `D * C` rows, the same on all devices, `[B]`.

  Returns:
    The rows, `[B, ...]`, the same on all devices. Each row is the sum of the
    row of the device that holds it and zeros of the others.
  """
  def own(x):
    size = x.shape[0]
    local = rows - jax.lax.axis_index(AXIS) * size
    is_here = (local >= 0) & (local < size)
    found = x[jnp.clip(local, 0, size - 1)]
    is_here = is_here.reshape(is_here.shape + (1,) * (x.ndim - 1))
    return jnp.where(is_here, found, jnp.zeros_like(found))
  return jax.lax.psum(jax.tree.map(own, tree), AXIS)
