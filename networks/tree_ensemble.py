"""Tree deep ensembles: members share layers near the root."""

import haiku as hk
import jax
import jax.numpy as jnp

from . import critic
from . import initializers


def make_tree_ensemble(
    observation_size: int,
    action_size: int,
    *,
    branching: int,
    depth: int,
    width: int,
    init: initializers.Initializers,
) -> critic.CriticEnsemble:
  """Makes a tree of ReLU layers with one output per leaf (docs/msg.md 4.3).

  Level l has `branching ** (l + 1)` nodes; member i uses node
  `i // branching ** (depth - 1 - l)`.

  Args:
    observation_size: O.
    action_size: A.
    branching: children of each node.
    depth: levels; N is `branching ** depth`.
    width: units of each node.
    init: weight initialisers.

  Returns:
    The ensemble, whose branches are divided over devices. Levels with a number
    of nodes that D does not divide are replicated.
  """
  num_members = branching ** depth

  def init_weights(key, shape):
    # Haiku's initialisers take their key from the enclosing transform.
    layer = hk.transform(lambda: hk.get_parameter('w', shape, init=init.layer))
    return jax.tree.leaves(layer.init(key))[0]

  def init_level(key, num_parents, inputs):
    # A parent's children are drawn as one wide layer, with its fan, and then
    # split into branches.
    keys = jax.random.split(key, num_parents)
    wide = jax.vmap(
        lambda k: init_weights(k, (inputs, branching * width)))(keys)
    wide = wide.reshape(num_parents, inputs, branching, width)
    return {'w': jnp.swapaxes(wide, 1, 2).reshape(-1, inputs, width),
            'b': jnp.zeros((num_parents * branching, 1, width))}

  def init_fn(key):
    *level_keys, leaf_key = jax.random.split(key, depth + 1)
    levels = [
        init_level(k, branching ** i,
                   width if i else observation_size + action_size)
        for i, k in enumerate(level_keys)]
    leaves = {
        'w': jax.vmap(lambda k: init_weights(k, (width, 1)))(
            jax.random.split(leaf_key, num_members)),
        'b': jnp.zeros((num_members, 1, 1))}
    return {'levels': levels, 'leaves': leaves}

  def apply(params, observation, action, first_member=0):
    leaves = params['leaves']
    is_sharded = leaves['w'].shape[0] < num_members

    def first_node(level, num_nodes):
      """Index of this device's first node of the level."""
      total = branching ** (level + 1)
      return first_member * total // num_members if num_nodes < total else 0

    x = jnp.concatenate([observation, action], axis=-1)
    num_nodes = params['levels'][0]['w'].shape[0]
    hidden = jnp.broadcast_to(x, (num_nodes,) + x.shape)
    first = first_node(0, num_nodes)
    for level, layer in enumerate(params['levels']):
      num_nodes = layer['w'].shape[0]
      if level:
        first_parent, first = first, first_node(level, num_nodes)
        if is_sharded:
          child = first + jnp.arange(num_nodes)
          hidden = hidden[child // branching - first_parent]
        else:
          hidden = jnp.repeat(hidden, branching, axis=0)
      hidden = jax.nn.relu(hidden @ layer['w'] + layer['b'])
    q = hidden @ leaves['w'] + leaves['b']
    features = jnp.swapaxes(hidden, 0, 1).reshape(1, x.shape[0], -1)
    return critic.CriticOutput(q, features)

  def member_leaves(params, num_devices):
    return jax.tree.map(lambda p: p.shape[0] % num_devices == 0, params)

  return critic.CriticEnsemble(
      num_members=num_members,
      init=init_fn,
      apply=apply,
      member_leaves=member_leaves,
      shard_over='members',
      representation='joint')
