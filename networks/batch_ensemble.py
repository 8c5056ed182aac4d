"""Batch ensembles: members are rank-one modulations of shared matrices."""

from typing import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from . import critic
from . import initializers
from . import members

# The only parameter of a layer that its members share.
_SHARED = 'w'

# Lower bound of the log-temperature in the reference implementation.
_MIN_LOG_ALPHA = -20.


class BatchEnsembleLinear(hk.Module):
  """One member's layer, `y = gamma * (W (alpha * x)) + b` (docs/msg.md 4.6).

  All members share W. Each has its own alpha and gamma, initially random signs,
  and its own bias b.
  """

  def __init__(self, output_size: int, w_init, name=None):
    super().__init__(name=name)
    self._output_size = output_size
    self._w_init = w_init

  def __call__(self, x: jax.Array) -> jax.Array:
    def random_signs(shape, dtype):
      return jax.random.rademacher(hk.next_rng_key(), shape, dtype)

    inputs, outputs = x.shape[-1], self._output_size
    w = hk.get_parameter(_SHARED, (inputs, outputs), init=self._w_init)
    alpha = hk.get_parameter('alpha', (1, inputs), init=random_signs)
    gamma = hk.get_parameter('gamma', (1, outputs), init=random_signs)
    b = hk.get_parameter('b', (1, outputs), init=jnp.zeros)
    return gamma * ((alpha * x) @ w) + b


def make_batch_ensemble(
    observation_size: int,
    action_size: int,
    *,
    num_members: int,
    hidden_sizes: Sequence[int],
    init: initializers.Initializers,
    batch_split: bool = True,
) -> critic.CriticEnsemble:
  """Makes an MLP of batch-ensemble layers (docs/msg.md 4.6).

  Args:
    observation_size: O.
    action_size: A.
    num_members: N.
    hidden_sizes: widths of the hidden ReLU layers.
    init: weight initialisers.
    batch_split: whether members train on B/N different rows each, else on all.

  Returns:
    The ensemble; shared matrices are replicated over devices.
  """

  def forward(observation, action):
    x = jnp.concatenate([observation, action], axis=-1)
    for i, size in enumerate(hidden_sizes):
      x = jax.nn.relu(
          BatchEnsembleLinear(size, init.layer, name=f'linear_{i}')(x))
    return BatchEnsembleLinear(1, init.layer, name='q')(x), x

  network = hk.without_apply_rng(hk.transform(forward))

  def member_leaves(params, num_devices):
    del num_devices
    return {module: {name: name != _SHARED for name in arrays}
            for module, arrays in params.items()}

  def init_fn(key):
    args = (jnp.zeros((1, observation_size)), jnp.zeros((1, action_size)))
    shared_key, own_key = jax.random.split(key)
    shared = network.init(shared_key, *args)
    own = jax.vmap(lambda k: network.init(k, *args))(
        jax.random.split(own_key, num_members))
    return jax.tree.map(lambda member, o, s: o if member else s,
                        member_leaves(shared, 1), own, shared)

  def apply(params, observation, action, first_member=0):
    del first_member
    q, features = members.map_members(
        network.apply, params, observation, action, member_leaves(params, 1))
    return critic.CriticOutput(q, features)

  return critic.CriticEnsemble(
      num_members=num_members,
      init=init_fn,
      apply=apply,
      member_leaves=member_leaves,
      shard_over='members',
      member_batches='split' if batch_split else 'same',
      independent_samples=True,
      # Members that split the batch have features of their own rows only.
      representation=None if batch_split else 'per_member',
      min_log_alpha=_MIN_LOG_ALPHA)
