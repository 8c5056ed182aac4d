"""Policies for acting and evaluation (docs/msg.md 7.1 and 7.2).

Shapes: `B` observations of size `O`, `A` action.
"""

from typing import Sequence

import jax
import jax.numpy as jnp

from . import config as msg_config
from . import losses
from .. import sharding
from ... import networks as networks_lib
from ...networks import policy as policy_lib
from ...networks import tanh_normal


def make_policy(networks: networks_lib.MSGNetworks, mode: str,
                config: msg_config.MSGConfig):
  """Makes `policy(params, key, observation [B, O]) -> action [B, A]`.

  Args:
    networks: policy and critics.
    mode: 'sample', 'mode' (the squashed mean) or 'q_filter': the action with
      the highest lower confidence bound among `config.num_eval_samples` samples
      of the policy and as many uniform actions.
    config: the agent's options.

  Returns:
    The policy; its `params` are the variables that `variable_names(mode)`
    lists.
  """
  if mode == 'mode':
    return policy_lib.mode_fn(networks.policy)
  if mode == 'sample':
    return policy_lib.sample_fn(networks.policy)
  shard = sharding.Shard(1, networks.critic.num_members, 'members')

  def q_filter(params, key, observation):
    policy_params, critic_params = params
    policy_key, uniform_key = jax.random.split(key)
    distribution = networks.policy.apply(policy_params, observation)
    shape = (config.num_eval_samples,) + distribution.loc.shape
    candidates = jnp.concatenate([
        tanh_normal.sample(
            distribution, jax.random.normal(policy_key, shape)),
        jax.random.uniform(uniform_key, shape, minval=-1., maxval=1.)])
    rows = jnp.broadcast_to(
        observation, candidates.shape[:1] + observation.shape)
    q = networks.critic.apply(
        critic_params, rows.reshape(-1, rows.shape[-1]),
        candidates.reshape(-1, candidates.shape[-1]), 0).q
    scores = losses.lower_confidence_bound(losses.ensemble_moments(
        losses.least_head(q), shard, config.std_ddof), config.beta)
    best = jnp.argmax(scores.reshape(candidates.shape[:-1]), axis=0)
    return jnp.take_along_axis(
        candidates, best[None, :, None], axis=0)[0]

  return q_filter


def variable_names(mode: str) -> Sequence[str]:
  """Returns the learner's variables that a policy of this mode needs."""
  return ('policy', 'critic') if mode == 'q_filter' else ('policy',)
