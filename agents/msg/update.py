"""The gradient step of MSG.

Shapes: `D` devices, `N` members of which each device holds `n`, `B` batch rows,
`b` rows that a member sees on one device, `M` proposed actions, `A` action.
Sections are those of the MSG specification.
"""

import functools
from typing import Any, Callable, NamedTuple, Tuple

import jax
import jax.numpy as jnp
import optax

from . import config as msg_config
from . import losses
from . import member_batch
from .. import metrics as metrics_lib
from .. import sharding
from ... import networks as networks_lib
from ...networks import tanh_normal

# The decay that the reference gives AdamW.
_WEIGHT_DECAY = 1e-3

# The reference's floor for the batch ensemble's log-coefficient (section 1.8).
_BATCH_ENSEMBLE_MIN_LOG_ALPHA = -20.


class TrainingState(NamedTuple):
  """Everything that a gradient step reads and writes.

  Attributes:
    policy_params: the policy.
    policy_opt_state: its optimiser.
    critic_params: all members.
    target_critic_params: all members.
    critic_opt_state: all members' optimisers.
    log_alpha: logarithm of the entropy coefficient, `[]`.
    alpha_opt_state: its optimiser.
    key: source of all randomness.
    steps: gradient steps done, `[]`.
  """
  policy_params: Any
  policy_opt_state: Any
  critic_params: Any
  target_critic_params: Any
  critic_opt_state: Any
  log_alpha: jax.Array
  alpha_opt_state: Any
  key: jax.Array
  steps: jax.Array


class Optimizers(NamedTuple):
  """The three optimisers."""
  policy: optax.GradientTransformation
  critic: optax.GradientTransformation
  alpha: optax.GradientTransformation


def make_optimizers(config: msg_config.MSGConfig) -> Optimizers:
  """Adam for all (section 1.1), AdamW for critics if so configured."""
  critic = (optax.adamw(config.q_lr, weight_decay=_WEIGHT_DECAY)
            if config.mimo_using_adamw else optax.adam(config.q_lr))
  return Optimizers(optax.adam(config.policy_lr), critic,
                    optax.adam(config.alpha_lr))


def init_state(key: jax.Array, networks: networks_lib.MSGNetworks,
               optimizers: Optimizers) -> TrainingState:
  """The state before the first gradient step, members unsplit `[N, ...]`."""
  policy_key, critic_key, key = jax.random.split(key, 3)
  policy_params = networks.policy.init(policy_key)
  critic_params = networks.critic.init(critic_key)
  log_alpha = jnp.zeros(())
  return TrainingState(
      policy_params=policy_params,
      policy_opt_state=optimizers.policy.init(policy_params),
      critic_params=critic_params,
      target_critic_params=jax.tree.map(jnp.copy, critic_params),
      critic_opt_state=optimizers.critic.init(critic_params),
      log_alpha=log_alpha,
      alpha_opt_state=optimizers.alpha.init(log_alpha),
      key=key,
      steps=jnp.zeros((), jnp.int32))


def split_members(params: Any, critic: networks_lib.CriticEnsemble,
                  num_devices: int) -> Any:
  """Marks which of the critics' arrays are split over devices: bools."""
  leaves = critic.member_leaves(params, num_devices)
  by_members = critic.shard_over == 'members'
  return jax.tree.map(lambda member: member and by_members, leaves)


def split_leaves(state: TrainingState, critic: networks_lib.CriticEnsemble,
                 optimizers: Optimizers, num_devices: int) -> TrainingState:
  """Marks which arrays of an unsplit state are split over devices: bools."""
  members = split_members(state.critic_params, critic, num_devices)
  replicated = jax.tree.map(lambda _: False, state)
  return replicated._replace(
      critic_params=members,
      target_critic_params=members,
      critic_opt_state=optax.tree_map_params(
          optimizers.critic, lambda _, member: member, state.critic_opt_state,
          members, transform_non_params=lambda _: False))


def make_update_step(
    networks: networks_lib.MSGNetworks,
    config: msg_config.MSGConfig,
    optimizers: Optimizers,
    shard: sharding.Shard,
) -> Callable[[TrainingState, Any],
              Tuple[TrainingState, metrics_lib.StepMetrics]]:
  """Makes one gradient step as it runs on each device.

  Args:
    networks: policy and critics.
    config: the agent's options.
    optimizers: see `make_optimizers`.
    shard: this device's part of the critics.

  Returns:
    `update_step(state, transition) -> (state, metrics)`; `state` is the
    device's part, `transition` the whole minibatch with leaves `[B, ...]`
    (fields as those of `acme.types.Transition`).
  """
  critic = networks.critic
  make_batch = member_batch.make_member_batch_fn(networks, config, shard)

  is_split = split_members(
      jax.eval_shape(critic.init, jax.random.PRNGKey(0)), critic,
      shard.num_devices)

  def apply_critic(params, observation, action):
    return critic.apply(params, observation, action, shard.first_member)

  def sass(params, target_params, transition, key) -> losses.ContrastiveLoss:
    """SASS losses (section 1.9): `[n]`, or `[1]` for joint features."""
    half = transition.action.shape[0] // 2
    random_actions = member_batch.member_noise(
        key, lambda k: jax.random.uniform(
            k, transition.action[half:].shape, minval=-1., maxval=1.),
        critic, shard)
    data_actions = jnp.broadcast_to(
        transition.extras['next_action'][:half],
        random_actions.shape[:-2] + transition.action[:half].shape)
    next_action = jnp.concatenate([data_actions, random_actions], axis=-2)
    features = apply_critic(
        params, transition.observation, transition.action).features
    next_features = jax.lax.stop_gradient(apply_critic(
        target_params, transition.next_observation, next_action).features)
    joint = shard if critic.representation == 'joint' else None
    return jax.vmap(lambda left, right: losses.sass_loss(
        left, right, config.pretrain_temp, joint))(features, next_features)

  def critic_loss(params, state, transition, batch, key):
    """The part of the critics' loss that this device computes (1.3)."""
    weights_key, mixture_key, sass_key = jax.random.split(key, 3)
    next_q = apply_critic(state.target_critic_params, batch.next_observation,
                          batch.next_action).q
    targets = losses.td_target(
        next_q, config.reward_scale * batch.reward, batch.discount,
        config.discount)
    q_data, q_proposals = member_batch.evaluate(
        lambda o, a: apply_critic(params, o, a).q, batch)
    weights = None
    if config.use_random_weighting_in_critic_loss:
      weights = member_batch.row_noise(
          weights_key, q_data.shape, shard, maximum=2.)

    if config.rem_mode:
      mixture = member_batch.row_noise(
          mixture_key, targets.shape, shard, maximum=1.)
      mixed = losses.rem_td_loss(q_data, targets, mixture, weights, shard)
      td_loss = jnp.broadcast_to(mixed, q_data.shape[:1])
      # All N members' copies of the loss, of which each device has the whole.
      total = mixed * shard.num_members
    else:
      targets = losses.shared_td_target(
          targets, config.td_target_method, config.beta, config.std_ddof, shard)
      td_loss = losses.td_loss(q_data, targets, weights)
      total = jnp.sum(td_loss)
    regularizer = losses.behavior_regularizer(
        config.behavior_regularization_type, q_data, q_proposals,
        batch.log_proposal)
    total += config.behavior_regularization_alpha * jnp.sum(regularizer)
    if critic.loss_reduction == 'mean':
      total /= shard.num_members

    member_metrics = {
        'critic_loss': td_loss
                       + config.behavior_regularization_alpha * regularizer,
        'behavior_reg_loss': regularizer}
    if config.behavior_regularization_type == 'v2':
      member_metrics['fraction_behavior_reg_active'] = jnp.mean(
          losses.least_head(q_proposals[0]) >= losses.least_head(q_data),
          axis=1, dtype=jnp.float32)
    scalars = {}
    if config.use_sass:
      contrast = sass(
          params, state.target_critic_params, transition, sass_key)
      total += jnp.sum(contrast.loss)
      scalars = {'sass_loss': sass_mean(contrast.loss),
                 'sass_acc': sass_mean(contrast.accuracy)}
    rows = {}
    if config.perform_sarsa_q_eval:
      moments = losses.ensemble_moments(
          losses.least_head(q_data), shard, config.std_ddof)
      rows = {'q_mean': moments.mean, 'q_std': moments.std}
    return total, metrics_lib.step_metrics(1., member_metrics, rows, scalars)

  def sass_mean(values):
    if critic.representation == 'joint':
      return values[0]
    return shard.mean_over_members(values)

  def apply_critic_gradient(state, gradient, copy_target):
    """Adam, then targets: copied, or by their rule for the state's step."""
    gradient = shard.reduce_gradient(gradient, is_split)
    updates, opt_state = optimizers.critic.update(
        gradient, state.critic_opt_state, state.critic_params)
    params = optax.apply_updates(state.critic_params, updates)
    if copy_target:
      target = params
    elif config.use_ema_target_critic_params:
      target = optax.incremental_update(
          params, state.target_critic_params, config.tau)
    else:
      period = config.target_update_period or config.num_sgd_steps_per_step
      target = optax.periodic_update(
          params, state.target_critic_params, state.steps + 1, period)
    return params, target, opt_state

  def policy_loss(policy_params, state, alpha, transition, key):
    """The negative of the policy's objective (section 1.3), on local rows."""
    observation = shard.local_rows(transition.observation)
    noise = shard.local_rows(
        jax.random.normal(key, transition.action.shape))
    distribution = networks.policy.apply(policy_params, observation)
    action = tanh_normal.sample(distribution, noise)
    log_prob = jnp.mean(tanh_normal.log_prob(distribution, action))
    q = losses.least_head(apply_critic(
        state.critic_params, observation,
        shard.shared_by_members(action)).q)
    moments = losses.ensemble_moments(q, shard, config.std_ddof)
    loss = -jnp.mean(losses.policy_objective(
        q, moments, config.td_target_method, config.beta, shard))
    if config.use_entropy_regularization:
      loss += alpha * log_prob
    return loss, (log_prob, q, moments)

  def cloning_loss(policy_params, transition):
    """The negative log-likelihood of the data's actions, on local rows."""
    distribution = networks.policy.apply(
        policy_params, shard.local_rows(transition.observation))
    return -jnp.mean(tanh_normal.log_prob(
        distribution, shard.local_rows(transition.action)))

  def policy_step(state, transition, key):
    """One step of policy and temperature, by the critics before the step."""
    fixed = config.entropy_coefficient is not None
    alpha = (jnp.asarray(config.entropy_coefficient, jnp.float32) if fixed
             else jnp.exp(state.log_alpha))
    target_entropy = config.target_entropy
    if target_entropy is None:
      target_entropy = -float(transition.action.shape[-1])

    def maximize(_):
      (loss, aux), gradient = jax.value_and_grad(policy_loss, has_aux=True)(
          state.policy_params, state, alpha, transition, key)
      return gradient, loss, *aux

    def clone(_):
      loss, gradient = jax.value_and_grad(cloning_loss)(
          state.policy_params, transition)
      nothing = jnp.zeros_like(shard.local_rows(transition.reward))
      q = jnp.zeros((shard.num_local_members,) + nothing.shape)
      return gradient, loss, -loss, q, losses.Moments(nothing, nothing)

    cloning = state.steps < (
        config.num_q_repr_pretrain_iters + config.num_bc_iters)
    if config.num_bc_iters:
      gradient, loss, log_prob, q, moments = jax.lax.cond(
          cloning, clone, maximize, None)
    else:
      gradient, loss, log_prob, q, moments = maximize(None)
    gradient = shard.mean_over_batch(gradient)
    updates, opt_state = optimizers.policy.update(
        gradient, state.policy_opt_state)
    new_state = state._replace(
        policy_params=optax.apply_updates(state.policy_params, updates),
        policy_opt_state=opt_state)

    always = metrics_lib.step_metrics(
        1., scalars={'actor_loss': loss, 'avg_log_prob': log_prob})
    scalars = {}
    if config.use_entropy_regularization:
      scalars['alpha'] = alpha
      if not fixed:
        alpha_loss, gradient = jax.value_and_grad(losses.temperature_loss)(
            state.log_alpha, shard.mean_over_batch(log_prob), target_entropy)
        updates, opt_state = optimizers.alpha.update(
            gradient, state.alpha_opt_state)
        log_alpha = optax.apply_updates(state.log_alpha, updates)
        if config.ensemble_method == 'batch_ensemble':
          log_alpha = jnp.maximum(log_alpha, _BATCH_ENSEMBLE_MIN_LOG_ALPHA)
        keep = functools.partial(jnp.where, cloning)
        new_state = new_state._replace(
            log_alpha=keep(state.log_alpha, log_alpha),
            alpha_opt_state=jax.tree.map(
                keep, state.alpha_opt_state, opt_state))
        scalars['alpha_loss'] = alpha_loss
    maximizing = metrics_lib.step_metrics(
        1. - cloning, {'q_member': jnp.mean(q, axis=1)},
        {'q_mean': moments.mean, 'q_std': moments.std}, scalars)
    return new_state, metrics_lib.merge(always, maximizing)

  def train_step(state, transition, key):
    """Critics and policy, both from the incoming state (section 1.3)."""
    batch_key, critic_key, policy_key = jax.random.split(key, 3)
    critic_opt_state = state.critic_opt_state
    if config.num_q_repr_pretrain_iters:
      # Adam starts afresh when pre-training ends (section 1.2).
      first = state.steps == config.num_q_repr_pretrain_iters
      critic_opt_state = jax.tree.map(
          lambda x: jnp.where(first, jnp.zeros_like(x), x), critic_opt_state)
    batch = make_batch(state.policy_params, transition, batch_key)
    gradient, metrics = jax.grad(critic_loss, has_aux=True)(
        state.critic_params, state, transition, batch, critic_key)
    critic_params, target, critic_opt_state = apply_critic_gradient(
        state._replace(critic_opt_state=critic_opt_state), gradient,
        copy_target=False)
    if not config.perform_sarsa_q_eval:
      new_state, policy_metrics = policy_step(state, transition, policy_key)
      metrics = metrics_lib.merge(metrics, policy_metrics)
    else:
      new_state = state
    return new_state._replace(
        critic_params=critic_params, target_critic_params=target,
        critic_opt_state=critic_opt_state), metrics

  def pretrain_step(state, transition, key):
    """Critics learn representations alone; targets are copies (1.9)."""
    def loss(params):
      contrast = sass(params, state.target_critic_params, transition, key)
      return jnp.sum(contrast.loss), contrast
    gradient, contrast = jax.grad(loss, has_aux=True)(state.critic_params)
    params, target, opt_state = apply_critic_gradient(
        state, gradient, copy_target=True)
    return state._replace(
        critic_params=params, target_critic_params=target,
        critic_opt_state=opt_state), metrics_lib.step_metrics(1., scalars={
            'pretraining/pretrain_loss': sass_mean(contrast.loss),
            'pretraining/pretrain_acc': sass_mean(contrast.accuracy)})

  def update_step(state, transition):
    key, step_key = jax.random.split(state.key)
    if config.num_q_repr_pretrain_iters:
      pretraining = state.steps < config.num_q_repr_pretrain_iters
      new_state, metrics = metrics_lib.either(
          pretraining, pretrain_step, train_step, state, transition, step_key)
    else:
      new_state, metrics = train_step(state, transition, step_key)
    return new_state._replace(key=key, steps=state.steps + 1), metrics

  return update_step
