"""The critic network that several ensembles use."""

from typing import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from . import initializers


def make(
    hidden_sizes: Sequence[int],
    num_outputs: int,
    init: initializers.Initializers,
    random_init: bool = False,
    init_scale: float = 1.0,
) -> hk.Transformed:
  """Makes an MLP on the concatenated (s, a) (docs/msg.md 5.2).

  Args:
    hidden_sizes: widths of the hidden ReLU layers.
    num_outputs: number of values.
    init: weight initialisers.
    random_init: whether to draw the initialiser instead, once per network.
    init_scale: multiplies the variance of a drawn initialiser.

  Returns:
    A transformed function that maps observation `[B, O]` and action `[B, A]` to
    values `[B, num_outputs]` and the last hidden activations `[B, F]`.
  """

  def forward(observation, action):
    layer_init = init.layer
    if random_init:
      key = hk.next_rng_key() if hk.running_init() else None
      layer_init = initializers.RandomVarianceScaling(key, init_scale)
    hidden = hk.nets.MLP(
        hidden_sizes, w_init=layer_init, activate_final=True,
        name='critic_trunk')(jnp.concatenate([observation, action], axis=-1))
    q = hk.Linear(num_outputs, w_init=layer_init, name='q')(hidden)
    return q, hidden

  return hk.without_apply_rng(hk.transform(forward))


def init_stacked(network: hk.Transformed, key: jax.Array, num_members: int,
                 observation_size: int, action_size: int) -> hk.Params:
  """Initialises N copies with different keys: parameters `[N, ...]`."""
  observation = jnp.zeros((1, observation_size))
  action = jnp.zeros((1, action_size))
  return jax.vmap(network.init, in_axes=(0, None, None))(
      jax.random.split(key, num_members), observation, action)
