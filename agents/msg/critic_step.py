"""The critics' part of the gradient step (docs/msg.md 3.2 to 3.7 and 6).

Shapes: `N` members of which each device holds `n`, `B` batch rows.
"""

from typing import Any, Tuple

import jax
import jax.numpy as jnp
import optax

from . import config as msg_config
from . import losses
from . import member_batch
from . import state as msg_state
from .. import metrics as metrics_lib
from .. import sharding
from ... import networks as networks_lib


class CriticStep:
  """Updates this device's critics and their targets.

  Both steps return the state with new critics, targets and optimiser state, and
  the step's metrics.
  """

  def __init__(self, networks: networks_lib.MSGNetworks,
               config: msg_config.MSGConfig, optimizers: msg_state.Optimizers,
               shard: sharding.Shard):
    """Initialises the step; arguments are those of `make_update_step`."""
    self._critic = networks.critic
    self._config = config
    self._optimizer = optimizers.critic
    self._shard = shard
    self._make_batch = member_batch.make_member_batch_fn(
        networks, config, shard)
    self._is_split = msg_state.split_members(
        jax.eval_shape(networks.critic.init, jax.random.PRNGKey(0)),
        networks.critic, shard.num_devices)

  def train(self, state, transition, batch_key, loss_key):
    """Minimises the critic loss on `transition [B, ...]` (docs/msg.md 3.3)."""
    batch = self._make_batch(state.policy_params, transition, batch_key)
    gradient, metrics = jax.grad(self._loss, has_aux=True)(
        state.critic_params, state, transition, batch, loss_key)
    if self._config.num_q_repr_pretrain_iters:
      # Adam starts afresh when pre-training ends (docs/msg.md 6.3).
      first = state.steps == self._config.num_q_repr_pretrain_iters
      state = state._replace(critic_opt_state=jax.tree.map(
          lambda x: jnp.where(first, jnp.zeros_like(x), x),
          state.critic_opt_state))
    params, opt_state = self._apply_gradient(state, gradient)
    return state._replace(
        critic_params=params,
        target_critic_params=self._next_target(state, params),
        critic_opt_state=opt_state), metrics

  def pretrain(self, state, transition, key):
    """Minimises the SASS loss alone; targets are copies (docs/msg.md 6.3)."""
    def loss(params):
      contrast = self._sass(
          params, state.target_critic_params, transition, key)
      return self._total(contrast.loss), contrast
    gradient, contrast = jax.grad(loss, has_aux=True)(state.critic_params)
    params, opt_state = self._apply_gradient(state, gradient)
    return state._replace(
        critic_params=params, target_critic_params=params,
        critic_opt_state=opt_state), metrics_lib.step_metrics(1., scalars={
            'pretraining/pretrain_loss': self._mean(contrast.loss),
            'pretraining/pretrain_acc': self._mean(contrast.accuracy)})

  def _apply(self, params, observation, action):
    return self._critic.apply(
        params, observation, action, self._shard.first_member)

  def _loss(
      self, params, state, transition, batch, key
  ) -> Tuple[jax.Array, metrics_lib.StepMetrics]:
    """The part of the critics' loss that this device computes."""
    config = self._config
    weights_key, mixture_key, sass_key = jax.random.split(key, 3)
    next_q = self._apply(state.target_critic_params, batch.next_observation,
                         batch.next_action).q
    targets = losses.td_target(
        next_q, config.reward_scale * batch.reward, batch.discount,
        config.discount)
    q_data, q_proposals = member_batch.evaluate(
        lambda o, a: self._apply(params, o, a).q, batch)
    weights = None
    if config.use_random_weighting_in_critic_loss:
      weights = member_batch.row_noise(
          weights_key, q_data.shape, self._shard, maximum=2.)
    td_loss, total = self._td_loss(q_data, targets, weights, mixture_key)
    regularizer = losses.behavior_regularizer(
        config.behavior_regularization_type, q_data, q_proposals,
        batch.log_proposal)
    total += config.behavior_regularization_alpha * jnp.sum(regularizer)
    if self._critic.loss_reduction == 'mean':
      total /= self._shard.num_members
    metrics = self._metrics(td_loss, regularizer, q_data, q_proposals)
    if config.use_sass:
      contrast = self._sass(
          params, state.target_critic_params, transition, sass_key)
      total += self._total(contrast.loss)
      metrics = metrics_lib.merge(metrics, metrics_lib.step_metrics(
          1., scalars={'sass_loss': self._mean(contrast.loss),
                       'sass_acc': self._mean(contrast.accuracy)}))
    return total, metrics

  def _td_loss(self, q, targets, weights, mixture_key):
    """Returns each member's squared error, `[n]`, and their sum, `[]`."""
    config, shard = self._config, self._shard
    if config.rem_mode:
      mixture = member_batch.row_noise(
          mixture_key, targets.shape, shard, maximum=1.)
      mixed = losses.rem_td_loss(q, targets, mixture, weights, shard)
      # Each of the N members has the same loss, which each device has whole.
      return jnp.broadcast_to(mixed, q.shape[:1]), mixed * shard.num_members
    targets = losses.shared_td_target(
        targets, config.td_target_method, config.beta, config.std_ddof, shard)
    td_loss = losses.td_loss(q, targets, weights)
    return td_loss, jnp.sum(td_loss)

  def _metrics(self, td_loss, regularizer, q_data, q_proposals):
    """Metrics of the critic loss (docs/msg.md 3.12)."""
    config = self._config
    members = {
        'critic_loss': td_loss
                       + config.behavior_regularization_alpha * regularizer,
        'behavior_reg_loss': regularizer}
    if config.behavior_regularization_type == 'v2':
      members['fraction_behavior_reg_active'] = jnp.mean(
          losses.least_head(q_proposals[0]) >= losses.least_head(q_data),
          axis=1, dtype=jnp.float32)
    rows = {}
    if config.perform_sarsa_q_eval:
      moments = losses.ensemble_moments(
          losses.least_head(q_data), self._shard, config.std_ddof)
      rows = {'q_mean': moments.mean, 'q_std': moments.std}
    return metrics_lib.step_metrics(1., members, rows)

  def _sass(self, params, target_params, transition,
            key) -> losses.ContrastiveLoss:
    """SASS losses, `[n]`, or `[1]` for joint features (docs/msg.md 6.1)."""
    critic, shard = self._critic, self._shard
    half = transition.action.shape[0] // 2
    random_actions = member_batch.member_noise(
        key, lambda k: jax.random.uniform(
            k, transition.action[half:].shape, minval=-1., maxval=1.),
        critic, shard)
    data_actions = jnp.broadcast_to(
        transition.extras['next_action'][:half],
        random_actions.shape[:-2] + transition.action[:half].shape)
    next_action = jnp.concatenate([data_actions, random_actions], axis=-2)
    features = self._apply(
        params, transition.observation, transition.action).features
    next_features = jax.lax.stop_gradient(self._apply(
        target_params, transition.next_observation, next_action).features)
    joint = shard if critic.representation == 'joint' else None
    return jax.vmap(lambda left, right: losses.sass_loss(
        left, right, self._config.pretrain_temp, joint))(
            features, next_features)

  def _total(self, losses):
    """Combines results of `_sass` as the members' other losses (3.3)."""
    if (self._critic.representation == 'joint'
        or self._critic.loss_reduction == 'sum'):
      return jnp.sum(losses)
    return jnp.sum(losses) / self._shard.num_members

  def _mean(self, values):
    """Averages results of `_sass` over members."""
    if self._critic.representation == 'joint':
      return values[0]
    return self._shard.mean_over_members(values)

  def _apply_gradient(self, state, gradient) -> Tuple[Any, Any]:
    """One step of the optimiser: `(params, opt_state)`."""
    gradient = self._shard.reduce_gradient(gradient, self._is_split)
    updates, opt_state = self._optimizer.update(
        gradient, state.critic_opt_state, state.critic_params)
    return optax.apply_updates(state.critic_params, updates), opt_state

  def _next_target(self, state, params):
    """The targets after a step to `params` (docs/msg.md 3.11)."""
    config = self._config
    if config.use_ema_target_critic_params:
      return optax.incremental_update(
          params, state.target_critic_params, config.tau)
    period = config.target_update_period or config.num_sgd_steps_per_step
    return optax.periodic_update(
        params, state.target_critic_params, state.steps + 1, period)
