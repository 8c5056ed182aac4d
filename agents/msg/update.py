"""The gradient step of MSG (docs/msg.md 3.1)."""

from typing import Any, Callable, Tuple

import jax

from . import config as msg_config
from . import critic_step
from . import policy_step
from . import state as msg_state
from .. import metrics as metrics_lib
from .. import sharding
from ... import networks as networks_lib


def make_update_step(
    networks: networks_lib.MSGNetworks,
    config: msg_config.MSGConfig,
    optimizers: msg_state.Optimizers,
    shard: sharding.Shard,
) -> Callable[[msg_state.TrainingState, Any],
              Tuple[msg_state.TrainingState, metrics_lib.StepMetrics]]:
  """Makes one gradient step as it runs on each device.

  Args:
    networks: policy and critics.
    config: the agent's options.
    optimizers: see `state.make_optimizers`.
    shard: this device's part of the critics.

  Returns:
    `update_step(state, transition) -> (state, metrics)`; `state` is the
    device's part, `transition` the whole minibatch with leaves `[B, ...]` and
    the fields of `acme.types.Transition`.
  """
  critic = critic_step.CriticStep(networks, config, optimizers, shard)
  policy = policy_step.PolicyStep(networks, config, optimizers, shard)

  def train_step(state, transition, key):
    batch_key, critic_key, policy_key = jax.random.split(key, 3)
    after_critic, metrics = critic.train(
        state, transition, batch_key, critic_key)
    if config.perform_sarsa_q_eval:
      return after_critic, metrics
    # The policy's step reads the critics before their step.
    after_policy, policy_metrics = policy.train(state, transition, policy_key)
    return after_policy._replace(
        critic_params=after_critic.critic_params,
        target_critic_params=after_critic.target_critic_params,
        critic_opt_state=after_critic.critic_opt_state,
    ), metrics_lib.merge(metrics, policy_metrics)

  def update_step(state, transition):
    key, step_key = jax.random.split(state.key)
    if config.num_q_repr_pretrain_iters:
      pretraining = state.steps < config.num_q_repr_pretrain_iters
      new_state, metrics = metrics_lib.either(
          pretraining, critic.pretrain, train_step, state, transition,
          step_key)
    else:
      new_state, metrics = train_step(state, transition, step_key)
    return new_state._replace(key=key, steps=state.steps + 1), metrics

  return update_step
