"""The initial state and the optimisers."""

from acme_msg.agents.msg import state as msg_state
import jax
import numpy as np
import pytest
import tiny


def test_targets_start_as_the_critics():
  state = tiny.make_state(tiny.make_config())
  jax.tree.map(np.testing.assert_array_equal, state.target_critic_params,
               state.critic_params)
  assert all(np.any(x) for x in (
      layer['w'] for layer in state.target_critic_params[0].values()))
  assert state.log_alpha == 0. and state.steps == 0


@pytest.mark.parametrize('options, critic_decay', [
    ({}, 0.), (dict(tiny.MIMO, mimo_using_adamw=True), 1e-3)])
def test_learning_rates_and_decay(options, critic_decay):
  """Adam's first step is a learning rate, and AdamW adds its decay."""
  config = tiny.make_config(
      policy_lr=1e-3, q_lr=2e-3, alpha_lr=3e-3, **options)
  params = np.float32(5.)
  for optimizer, rate, decay in zip(
      msg_state.make_optimizers(config), (1e-3, 2e-3, 3e-3),
      (0., critic_decay, 0.)):
    for gradient in (0., 7.):
      update, _ = optimizer.update(
          np.float32(gradient), optimizer.init(params), params)
      np.testing.assert_allclose(
          update, -rate * (np.sign(gradient) + decay * params), rtol=1e-4)
