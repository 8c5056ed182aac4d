"""How the members on one device are run: side by side or one after another.

The choice per platform stands here and nowhere else. On a CPU a member's
matrices stay in cache and its products run at full rate when members take
turns; accelerators want one batched product for all of them.
"""

from typing import Any, Callable

import jax

# None: by platform. Tests and benchmarks set it to compare the two.
SEQUENTIAL = None


def map_members(network: Callable[..., Any], params: Any,
                observation: jax.Array, action: jax.Array,
                member_leaves: Any = None) -> Any:
  """Applies one member's network to each member on this device.

  Args:
    network: `network(params, observation [B, O], action [B, A])`.
    params: parameters, members on the leading axis of each member leaf.
    observation: `[B, O]`, the same for all members, or `[n, B, O]`.
    action: `[B, A]` or `[n, B, A]`.
    member_leaves: tree of bool like `params`; False marks arrays that members
      share. None: all of them carry members.

  Returns:
    The network's results with a leading axis of members, `[n, ...]`.
  """
  if member_leaves is None:
    member_leaves = jax.tree.map(lambda _: True, params)
  sequential = (
      jax.default_backend() == 'cpu' if SEQUENTIAL is None else SEQUENTIAL)
  if not sequential:
    in_axes = (jax.tree.map(lambda member: 0 if member else None,
                            member_leaves),
               0 if observation.ndim == 3 else None,
               0 if action.ndim == 3 else None)
    return jax.vmap(network, in_axes)(params, observation, action)

  # Shared arguments are closed over, so the loop carries only members' own.
  leaves, structure = jax.tree.flatten((params, observation, action))
  is_member = jax.tree.leaves(
      (member_leaves, observation.ndim == 3, action.ndim == 3))
  own = [leaf for leaf, member in zip(leaves, is_member) if member]

  def run_one(own_leaves):
    own_leaves = iter(own_leaves)
    return network(*jax.tree.unflatten(structure, [
        next(own_leaves) if member else leaf
        for leaf, member in zip(leaves, is_member)]))

  return jax.lax.map(run_one, own)
