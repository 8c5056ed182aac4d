"""MIMO: one network with the inputs and outputs of all N members."""

from typing import Sequence

import jax.numpy as jnp

from . import critic
from . import initializers
from . import mlp_critic


def _as_block(x, num_members, tile):
  """Concatenates members' inputs.

  Args:
    x: inputs, `[N, B, X]`, or `[B, X]` if members share them.
    num_members: N.
    tile: whether the network has one input per member.

  Returns:
    `[B, N * X]`, or `[B, X]` if shared inputs are not tiled.
  """
  if x.ndim == 3:
    return jnp.swapaxes(x, 0, 1).reshape(x.shape[1], -1)
  return jnp.tile(x, (1, num_members)) if tile else x


def make_mimo(
    observation_size: int,
    action_size: int,
    *,
    num_members: int,
    hidden_sizes: Sequence[int],
    init: initializers.Initializers,
    tile_observations: bool = True,
    tile_actions: bool = True,
) -> critic.CriticEnsemble:
  """Makes one MLP with N outputs (docs/msg.md 4.4 and 4.5).

  If both inputs are tiled, members train on differently shuffled rows. An input
  that is not tiled has room for one row only, so that members must see the same
  rows. Without tiles this is the multi-head ensemble.

  Args:
    observation_size: O.
    action_size: A.
    num_members: N.
    hidden_sizes: widths of the hidden ReLU layers.
    init: weight initialisers.
    tile_observations: whether the input has one observation per member.
    tile_actions: whether the input has one action per member.

  Returns:
    The ensemble, whose batch is divided over devices.
  """
  network = mlp_critic.make(hidden_sizes, num_members, init)
  observation_inputs = observation_size * (
      num_members if tile_observations else 1)
  action_inputs = action_size * (num_members if tile_actions else 1)
  tiled = tile_observations or tile_actions

  def init_fn(key):
    return network.init(key, jnp.zeros((1, observation_inputs)),
                        jnp.zeros((1, action_inputs)))

  def apply(params, observation, action, first_member=0):
    del first_member
    q, features = network.apply(
        params,
        _as_block(observation, num_members, tile_observations),
        _as_block(action, num_members, tile_actions))
    return critic.CriticOutput(q.T[:, :, None], features[None])

  return critic.CriticEnsemble(
      num_members=num_members,
      init=init_fn,
      apply=apply,
      member_batches=(
          'shuffled' if tile_observations and tile_actions else 'same'),
      representation=None if tiled else 'joint')
