"""The plain critic network that several ensembles are made of."""

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
  """Concatenates (s, a) and runs an MLP (the MSG specification, section 2.2).

  Args:
    hidden_sizes: widths of the hidden ReLU layers.
    num_outputs: values read from the last hidden layer.
    init: weight initialisers.
    random_init: draw the initialiser at random instead, once per network.
    init_scale: multiplies the variance of a random initialiser.

  Returns:
    A transformed function of (observation `[B, O]`, action `[B, A]`) that gives
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
  """Initialises `num_members` copies with keys of their own, `[N, ...]`."""
  observation = jnp.zeros((1, observation_size))
  action = jnp.zeros((1, action_size))
  return jax.vmap(network.init, in_axes=(0, None, None))(
      jax.random.split(key, num_members), observation, action)
