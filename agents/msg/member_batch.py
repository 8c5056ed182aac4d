"""Minibatches as members see them: rows, sampled actions and noise.

Shapes: `N` members of which a device holds `n`, `B` batch rows, `b` rows that a
member sees on one device, `M` proposed actions, `O` observation, `A` action,
`K` heads.

Noise depends on key, member and row, but not on the device (docs/msg.md 9.3).
"""

from typing import Any, Callable, NamedTuple, Tuple

import chex
import jax
import jax.numpy as jnp

from . import config as msg_config
from .. import sharding
from ... import networks as networks_lib
from ...networks import tanh_normal


class MemberBatch(NamedTuple):
  """A minibatch as the members on one device see it.

  Arrays are `[b, ...]` if members share them, else `[n, b, ...]`.

  Attributes:
    observation: s.
    action: a.
    reward: r.
    discount: d, zero at terminal transitions.
    next_observation: s'.
    next_action: a', drawn from the policy; the data's for SARSA.
    proposals: actions that the regulariser compares with the data's,
      `[M, b, A]` or `[M, n, b, A]`; M may be zero.
    log_proposal: log-density of the proposals, `[M, n or 1, b]`.
  """
  observation: jax.Array
  action: jax.Array
  reward: jax.Array
  discount: jax.Array
  next_observation: jax.Array
  next_action: jax.Array
  proposals: jax.Array
  log_proposal: jax.Array


def member_noise(key: jax.Array, draw: Callable[[jax.Array], jax.Array],
                 critic: networks_lib.CriticEnsemble,
                 shard: sharding.Shard) -> jax.Array:
  """Returns `draw(key)`, or `[n, ...]` if members have independent samples."""
  if not critic.independent_samples:
    return draw(key)
  return jax.vmap(draw)(
      shard.local_members(jax.random.split(key, shard.num_members)))


def row_noise(key: jax.Array, shape: Tuple[int, ...], shard: sharding.Shard,
              maximum: float) -> jax.Array:
  """Draws from U(0, maximum) for each member and row.

  Numbers are never zero, because a single member's share of a mixture would be
  0 / 0.

  Args:
    key: consumed.
    shape: shape of the result on this device, `[n, b, ...]`.
    shard: how members and rows are divided over devices.
    maximum: upper end of the range.
  """
  num_rows = shape[1] * (
      shard.num_devices if shard.shard_over == 'batch' else 1)
  draw = lambda k: jax.random.uniform(
      k, (num_rows,) + shape[2:], minval=jnp.finfo(jnp.float32).tiny,
      maxval=maximum)
  keys = shard.local_members(jax.random.split(key, shard.num_members))
  return shard.local_rows(jax.vmap(draw)(keys), axis=1)


def evaluate(q_fn: Callable[[jax.Array, jax.Array], jax.Array],
             batch: MemberBatch) -> Tuple[jax.Array, jax.Array]:
  """Evaluates the data's and the proposed actions in one pass.

  Args:
    q_fn: maps observation and action, `[rows, ...]` or `[n, rows, ...]`, to
      values `[n, rows, K]`.
    batch: the minibatch.

  Returns:
    Values of the data's actions, `[n, b, K]`, and of the proposals,
    `[M, n, b, K]`.
  """
  num_actions = batch.proposals.shape[0] + 1
  actions = jnp.concatenate([
      jnp.broadcast_to(batch.action, batch.proposals.shape[1:])[None],
      batch.proposals])
  actions = jnp.concatenate(list(actions), axis=-2)
  observation = jnp.concatenate([batch.observation] * num_actions, axis=-2)
  q = q_fn(observation, actions)
  q = jnp.moveaxis(
      q.reshape(q.shape[0], num_actions, -1, q.shape[-1]), 1, 0)
  return q[0], q[1:]


def make_member_batch_fn(
    networks: networks_lib.MSGNetworks,
    config: msg_config.MSGConfig,
    shard: sharding.Shard,
) -> Callable[[Any, Any, jax.Array], MemberBatch]:
  """Makes `fn(policy_params, transition, key) -> MemberBatch`.

  Args:
    networks: policy and critics; the critics' `member_batches` says which rows
      each member sees, `independent_samples` whether each draws actions.
    config: the agent's options.
    shard: how members and rows are divided over devices.

  Returns:
    The function. `transition` is the whole minibatch, `[B, ...]`; a' is drawn
    from the policy at s' and proposals at s, with parameters `policy_params`.
  """
  critic = networks.critic
  kind = config.behavior_regularization_type
  num_proposals = {'none': 0, 'cql': config.num_cql_actions}.get(kind, 1)

  def own_rows(x):
    """Returns the rows that this device's members see, before any shuffle."""
    if critic.member_batches == 'split':
      return shard.local_members(
          x.reshape((shard.num_members, -1) + x.shape[1:]))
    return x if critic.member_batches == 'shuffled' else shard.local_rows(x)

  def draw(key, shape, sampler):
    """Draws noise of `shape = [M, B, A]`: `[M, b, A]` or `[M, n, b, A]`."""
    if critic.member_batches == 'split':
      shape = (shape[0], shape[1] // shard.num_members, shape[2])
    noise = member_noise(key, lambda k: sampler(k, shape), critic, shard)
    if critic.independent_samples:
      return jnp.swapaxes(noise, 0, 1)
    return (noise if critic.member_batches == 'shuffled'
            else shard.local_rows(noise, axis=1))

  def shuffle(batch, key):
    """Permutes half of the rows for each member (docs/msg.md 4.4)."""
    rows = batch.reward.shape[0]
    half = rows // 2
    order = jax.vmap(lambda k: jnp.concatenate(
        [jax.random.permutation(k, half), jnp.arange(half, rows)]))(
            jax.random.split(key, shard.num_members))
    order = shard.local_rows(order, axis=1)
    rest = batch._replace(proposals=None, log_proposal=None)
    return jax.tree.map(lambda x: x[order], rest)._replace(
        proposals=batch.proposals[:, order],
        log_proposal=batch.log_proposal[:, 0][:, order])

  def make_batch(policy_params, transition, key):
    next_key, policy_key, uniform_key, shuffle_key = jax.random.split(key, 4)
    rows = transition.action.shape  # [B, A]
    chex.assert_rank([transition.observation, transition.action], 2)
    chex.assert_shape(
        [transition.reward, transition.discount], (rows[0],))
    chex.assert_shape(
        [transition.observation, transition.next_observation], (rows[0], None))
    observation = own_rows(transition.observation)
    next_observation = own_rows(transition.next_observation)
    if config.perform_sarsa_q_eval:
      next_action = own_rows(transition.extras['next_action'])
    else:
      next_action = tanh_normal.sample(
          networks.policy.apply(policy_params, next_observation),
          draw(next_key, (1,) + rows, jax.random.normal)[0])
    policy = networks.policy.apply(policy_params, observation)
    proposals = tanh_normal.sample(
        policy, draw(policy_key, (num_proposals,) + rows, jax.random.normal))
    log_proposal = tanh_normal.log_prob(policy, proposals)
    if kind == 'cql':
      uniform = draw(
          uniform_key, (num_proposals,) + rows,
          lambda k, shape: jax.random.uniform(k, shape, minval=-1., maxval=1.))
      density = jnp.full(uniform.shape[:-1], -rows[-1] * jnp.log(2.))
      proposals = jnp.concatenate([proposals, uniform])
      log_proposal = jnp.concatenate([log_proposal, density])
    if log_proposal.ndim == 2:
      log_proposal = log_proposal[:, None]
    batch = MemberBatch(
        observation=observation,
        action=own_rows(transition.action),
        reward=own_rows(transition.reward),
        discount=own_rows(transition.discount),
        next_observation=next_observation,
        next_action=next_action,
        proposals=proposals,
        log_proposal=log_proposal)
    if critic.member_batches == 'shuffled':
      batch = shuffle(batch, shuffle_key)
    return batch

  return make_batch
