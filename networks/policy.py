"""The policy: an MLP that gives a tanh-squashed Gaussian (docs/msg.md 5.1)."""

from typing import Callable, NamedTuple, Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from . import initializers
from . import tanh_normal


class PolicyNetwork(NamedTuple):
  """A policy as pure functions.

  Attributes:
    init: `init(key) -> params`.
    apply: `apply(params, observation [..., O]) -> TanhNormal [..., A]`.
  """
  init: Callable[[jax.Array], hk.Params]
  apply: Callable[[hk.Params, jax.Array], tanh_normal.TanhNormal]


def make_policy(
    observation_size: int,
    action_size: int,
    hidden_sizes: Sequence[int],
    init: initializers.Initializers,
    min_scale: float,
) -> PolicyNetwork:
  """Makes the policy (docs/msg.md 5.1).

  Args:
    observation_size: O.
    action_size: A.
    hidden_sizes: widths of the hidden ReLU layers.
    init: weight initialisers.
    min_scale: added to the softplus of the raw scale.

  Returns:
    The policy network.
  """

  def forward(observation):
    hidden = hk.nets.MLP(
        hidden_sizes, w_init=init.layer, activate_final=True,
        name='policy_trunk')(observation)
    loc = hk.Linear(action_size, w_init=init.policy_head, name='loc')(hidden)
    raw_scale = hk.Linear(
        action_size, w_init=init.policy_head, name='scale')(hidden)
    return tanh_normal.TanhNormal(
        loc, jax.nn.softplus(raw_scale) + min_scale)

  network = hk.without_apply_rng(hk.transform(forward))
  return PolicyNetwork(
      init=lambda key: network.init(key, jnp.zeros((1, observation_size))),
      apply=network.apply)


def sample_fn(network: PolicyNetwork):
  """Makes `fn(params, key, observation [..., O])`: a sample, `[..., A]`."""
  def sample(params, key, observation):
    distribution = network.apply(params, observation)
    return tanh_normal.sample(
        distribution, jax.random.normal(key, distribution.loc.shape))
  return sample


def mode_fn(network: PolicyNetwork):
  """Makes `fn(params, key, observation [..., O])`: the mode, `[..., A]`."""
  def mode(params, key, observation):
    del key
    return tanh_normal.mode(network.apply(params, observation))
  return mode
