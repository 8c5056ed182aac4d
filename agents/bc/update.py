"""The gradient step of behaviour cloning (docs/msg.md 10.1).

Shapes: `B` batch rows, which are divided over devices.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import config as bc_config
from .. import metrics as metrics_lib
from .. import sharding
from ... import networks as networks_lib
from ...networks import tanh_normal


class TrainingState(NamedTuple):
  """Policy, its optimiser's state, random key and gradient steps done, `[]`."""
  policy_params: Any
  policy_opt_state: Any
  key: jax.Array
  steps: jax.Array


def init_state(key: jax.Array, policy: networks_lib.PolicyNetwork,
               optimizer: optax.GradientTransformation) -> TrainingState:
  """Returns the state before the first gradient step."""
  policy_key, key = jax.random.split(key)
  params = policy.init(policy_key)
  return TrainingState(
      params, optimizer.init(params), key, jnp.zeros((), jnp.int32))


def make_update_step(policy: networks_lib.PolicyNetwork,
                     config: bc_config.BCConfig,
                     optimizer: optax.GradientTransformation,
                     shard: sharding.Shard):
  """Makes `step(state, transition [B, ...]) -> (state, StepMetrics)`."""

  def loss_fn(params, observation, action):
    distribution = policy.apply(params, observation)
    if config.loss == 'mse':
      return jnp.mean(jnp.square(tanh_normal.mode(distribution) - action))
    return -jnp.mean(tanh_normal.log_prob(distribution, action))

  def step(state, transition):
    loss, gradient = jax.value_and_grad(loss_fn)(
        state.policy_params, shard.local_rows(transition.observation),
        shard.local_rows(transition.action))
    updates, opt_state = optimizer.update(
        shard.mean_over_batch(gradient), state.policy_opt_state)
    return state._replace(
        policy_params=optax.apply_updates(state.policy_params, updates),
        policy_opt_state=opt_state, steps=state.steps + 1
    ), metrics_lib.step_metrics(1., scalars={'actor_loss': loss})

  return step
