"""The training state of MSG and its optimisers (docs/msg.md 2.1 and 2.2).

Shapes: `N` members.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import config as msg_config
from ... import networks as networks_lib

# The reference implementation's decay for AdamW.
_WEIGHT_DECAY = 1e-3


class TrainingState(NamedTuple):
  """Everything that a gradient step reads and writes.

  Attributes:
    policy_params: parameters of the policy.
    policy_opt_state: state of the policy's optimiser.
    critic_params: parameters of all members.
    target_critic_params: parameters of all members' targets.
    critic_opt_state: state of the critics' optimiser.
    log_alpha: logarithm of the entropy temperature, `[]`.
    alpha_opt_state: state of the temperature's optimiser.
    key: source of all randomness.
    steps: number of gradient steps done, `[]`.
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
  """Optimisers of the policy, the critics and the entropy temperature."""
  policy: optax.GradientTransformation
  critic: optax.GradientTransformation
  alpha: optax.GradientTransformation


def make_optimizers(config: msg_config.MSGConfig) -> Optimizers:
  """Returns Adam for all, or AdamW for critics with `mimo_using_adamw`."""
  critic = (optax.adamw(config.q_lr, weight_decay=_WEIGHT_DECAY)
            if config.mimo_using_adamw else optax.adam(config.q_lr))
  return Optimizers(optax.adam(config.policy_lr), critic,
                    optax.adam(config.alpha_lr))


def init_state(key: jax.Array, networks: networks_lib.MSGNetworks,
               optimizers: Optimizers) -> TrainingState:
  """Returns the state before the first gradient step, members `[N, ...]`."""
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
  """Returns a tree of bool: which critic arrays are split over devices."""
  leaves = critic.member_leaves(params, num_devices)
  by_members = critic.shard_over == 'members'
  return jax.tree.map(lambda member: member and by_members, leaves)


def split_leaves(state: TrainingState, critic: networks_lib.CriticEnsemble,
                 optimizers: Optimizers, num_devices: int) -> TrainingState:
  """Returns a state of bools: which arrays are split over devices.

  Args:
    state: the whole state, members `[N, ...]`.
    critic: the critics.
    optimizers: see `make_optimizers`.
    num_devices: D.
  """
  members = split_members(state.critic_params, critic, num_devices)
  replicated = jax.tree.map(lambda _: False, state)
  return replicated._replace(
      critic_params=members,
      target_critic_params=members,
      critic_opt_state=optax.tree_map_params(
          optimizers.critic, lambda _, member: member, state.critic_opt_state,
          members, transform_non_params=lambda _: False))
