"""The policy's part of the gradient step (docs/msg.md 3.8 to 3.10).

Shapes: `n` members on each device, `b` batch rows that it evaluates.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import config as msg_config
from . import losses
from . import state as msg_state
from .. import metrics as metrics_lib
from .. import sharding
from ... import networks as networks_lib
from ...networks import tanh_normal


class _PolicyResult(NamedTuple):
  """Results of a policy loss: scalars, values `[n, b]` and moments `[b]`."""
  gradient: Any
  loss: jax.Array
  log_prob: jax.Array
  q: jax.Array
  moments: losses.Moments


class PolicyStep:
  """Updates the policy and the entropy temperature.

  The policy clones behaviour during the first `num_bc_iters` steps after
  pre-training and then maximises the lower confidence bound.
  """

  def __init__(self, networks: networks_lib.MSGNetworks,
               config: msg_config.MSGConfig, optimizers: msg_state.Optimizers,
               shard: sharding.Shard):
    """Initialises the step; arguments are those of `make_update_step`."""
    self._networks = networks
    self._config = config
    self._optimizers = optimizers
    self._shard = shard

  def train(self, state, transition, key):
    """Updates policy and temperature, with the critics before the step.

    Args:
      state: the `TrainingState` before the step.
      transition: the whole minibatch, `[B, ...]`.
      key: consumed.

    Returns:
      The state with another policy and temperature, and the step's metrics.
    """
    config = self._config
    cloning = state.steps < (
        config.num_q_repr_pretrain_iters + config.num_bc_iters)
    alpha = (jnp.exp(state.log_alpha) if config.entropy_coefficient is None
             else jnp.asarray(config.entropy_coefficient, jnp.float32))
    maximize = lambda _: self._maximize(state, alpha, transition, key)
    clone = lambda _: self._clone(state, transition)
    if config.num_bc_iters:
      result = jax.lax.cond(cloning, clone, maximize, None)
    else:
      result = maximize(None)
    gradient = self._shard.mean_over_batch(result.gradient)
    updates, opt_state = self._optimizers.policy.update(
        gradient, state.policy_opt_state)
    new_state = state._replace(
        policy_params=optax.apply_updates(state.policy_params, updates),
        policy_opt_state=opt_state)
    metrics = self._metrics(result, cloning)
    if config.use_entropy_regularization:
      scalars = {'alpha': alpha}
      if config.entropy_coefficient is None:
        new_state, scalars['alpha_loss'] = self._adapt_temperature(
            new_state, result.log_prob, transition.action.shape[-1], cloning)
      metrics = metrics_lib.merge(
          metrics, metrics_lib.step_metrics(1. - cloning, scalars=scalars))
    return new_state, metrics

  def _maximize(self, state, alpha, transition, key) -> _PolicyResult:
    """Gradient of the lower confidence bound (docs/msg.md 3.8)."""
    config, shard = self._config, self._shard

    def loss_fn(policy_params):
      observation = shard.local_rows(transition.observation)
      noise = shard.local_rows(
          jax.random.normal(key, transition.action.shape))
      distribution = self._networks.policy.apply(policy_params, observation)
      action = tanh_normal.sample(distribution, noise)
      log_prob = jnp.mean(tanh_normal.log_prob(distribution, action))
      q = losses.least_head(self._networks.critic.apply(
          state.critic_params, observation, shard.shared_by_members(action),
          shard.first_member).q)
      moments = losses.ensemble_moments(q, shard, config.std_ddof)
      loss = -jnp.mean(losses.policy_objective(
          q, moments, config.td_target_method, config.beta, shard))
      if config.use_entropy_regularization:
        loss += alpha * log_prob
      return loss, (log_prob, q, moments)

    (loss, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        state.policy_params)
    return _PolicyResult(gradient, loss, *aux)

  def _clone(self, state, transition) -> _PolicyResult:
    """Gradient of the log-likelihood of the data (docs/msg.md 3.9)."""
    shard = self._shard

    def loss_fn(policy_params):
      distribution = self._networks.policy.apply(
          policy_params, shard.local_rows(transition.observation))
      return -jnp.mean(tanh_normal.log_prob(
          distribution, shard.local_rows(transition.action)))

    loss, gradient = jax.value_and_grad(loss_fn)(state.policy_params)
    zeros = jnp.zeros_like(shard.local_rows(transition.reward))
    q = jnp.zeros((shard.num_local_members,) + zeros.shape)
    return _PolicyResult(
        gradient, loss, -loss, q, losses.Moments(zeros, zeros))

  def _adapt_temperature(self, state, log_prob, action_size, cloning):
    """A step of the temperature, unless `cloning`: `(state, loss)`."""
    target_entropy = self._config.target_entropy
    if target_entropy is None:
      target_entropy = -float(action_size)
    loss, gradient = jax.value_and_grad(losses.temperature_loss)(
        state.log_alpha, self._shard.mean_over_batch(log_prob), target_entropy)
    updates, opt_state = self._optimizers.alpha.update(
        gradient, state.alpha_opt_state)
    log_alpha = optax.apply_updates(state.log_alpha, updates)
    min_log_alpha = self._networks.critic.min_log_alpha
    if min_log_alpha is not None:
      log_alpha = jnp.maximum(log_alpha, min_log_alpha)
    keep = functools.partial(jnp.where, cloning)
    return state._replace(
        log_alpha=keep(state.log_alpha, log_alpha),
        alpha_opt_state=jax.tree.map(
            keep, state.alpha_opt_state, opt_state)), loss

  def _metrics(self, result, cloning):
    """Metrics of the policy's loss (docs/msg.md 3.12)."""
    return metrics_lib.merge(
        metrics_lib.step_metrics(1., scalars={
            'actor_loss': result.loss, 'avg_log_prob': result.log_prob}),
        metrics_lib.step_metrics(
            1. - cloning,
            rows={'q_mean': result.moments.mean, 'q_std': result.moments.std},
            ranked={'q': jnp.mean(result.q, axis=1)}))
