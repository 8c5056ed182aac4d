"""Behaviour cloning: its step against NumPy, and learning."""

from acme import types
from acme.utils import loggers
from acme_msg import networks
from acme_msg.agents import bc
from acme_msg.networks import policy as policy_lib
import jax
import numpy as np
import pytest
import tiny

_OBSERVATION_SIZE, _ACTION_SIZE = tiny.OBSERVATION_SIZE, tiny.ACTION_SIZE


def _make_policy():
  return networks.make_policy(_OBSERVATION_SIZE, _ACTION_SIZE, (32,))


def _expert(observation):
  """The policy to clone: linear, then squashed."""
  weights = np.array([[0.8, -0.4], [0.3, 0.5], [-0.6, 0.7]], np.float32)
  return np.tanh(observation @ weights)


def _demonstrations(size=500):
  rng = np.random.default_rng(0)
  observation = rng.normal(size=(size, _OBSERVATION_SIZE)).astype(np.float32)
  noise = 0.05 * rng.normal(size=(size, _ACTION_SIZE)).astype(np.float32)
  zeros = np.zeros(size, np.float32)
  return types.Transition(
      observation, np.tanh(np.arctanh(_expert(observation)) + noise),
      zeros, zeros, observation)


@pytest.mark.parametrize('loss', ['mle', 'mse'])
def test_clones_an_expert(loss):
  policy, log = _make_policy(), loggers.InMemoryLogger()
  learner = bc.BCLearner(
      policy,
      bc.BCConfig(loss=loss, policy_lr=1e-2, batch_size=64,
                  num_sgd_steps_per_step=200),
      jax.random.PRNGKey(0), _demonstrations(), logger=log)
  observation = np.random.default_rng(1).normal(
      size=(200, _OBSERVATION_SIZE)).astype(np.float32)
  mode = jax.jit(policy_lib.mode_fn(policy))

  def error():
    params, = learner.get_variables(['policy'])
    return np.mean(np.square(
        mode(params, None, observation) - _expert(observation)))

  before = error()
  for _ in range(3):
    learner.step()
  assert before > 0.1 and error() < 0.003
  assert log.data[-1]['actor_loss'] < log.data[0]['actor_loss']
  assert log.data[-1]['learner_steps'] == 600
  assert learner.num_traces == 1
  if loss == 'mle':
    # The policy learns the expert's noise, too.
    params, = learner.get_variables(['policy'])
    scale = policy.apply(params, observation).scale
    assert 0.02 < np.median(scale) < 0.15


def test_resumes_exactly():
  def make_learner(seed):
    return bc.BCLearner(
        _make_policy(), bc.BCConfig(batch_size=8, num_sgd_steps_per_step=3),
        jax.random.PRNGKey(seed), _demonstrations(),
        logger=loggers.NoOpLogger())

  learner = make_learner(0)
  learner.step()
  saved = learner.save()
  learner.step()
  again = make_learner(1)
  again.restore(saved)
  again.step()
  jax.tree.map(np.testing.assert_array_equal, again.save(), learner.save())
  assert saved.steps == 3 and learner.save().steps == 6


@pytest.mark.parametrize('loss', ['mle', 'mse'])
def test_first_step_equals_numpy(loss):
  policy = _make_policy()
  learning_rate = 1e-3
  batch = jax.tree.map(lambda x: x[:16], _demonstrations())
  learner = bc.BCLearner(
      policy, bc.BCConfig(
          loss=loss, policy_lr=learning_rate, batch_size=16),
      jax.random.PRNGKey(0), iter([batch]), logger=loggers.NoOpLogger())
  params, = learner.get_variables(['policy'])
  learner.step()
  state = learner.save()

  # The gradient by the last biases; after one step Adam's first moment is a
  # tenth of it.
  loc, scale = (np.array(x, np.float64)
                for x in policy.apply(params, batch.observation))
  action = batch.action.astype(np.float64)
  if loss == 'mse':
    by_loc = 2. * (np.tanh(loc) - action) * (1 - np.tanh(loc) ** 2) / (
        _ACTION_SIZE)
    by_scale = np.zeros_like(scale)
  else:
    z = (np.arctanh(action) - loc) / scale
    by_loc = -z / scale
    # The scale is the softplus of the layer's output plus 0.01.
    by_scale = (1 - z ** 2) / scale * (1 - np.exp(-(scale - 0.01)))
  moments = state.policy_opt_state[0].mu
  for name, gradient in (('loc', by_loc), ('scale', by_scale)):
    np.testing.assert_allclose(
        moments[name]['b'], 0.1 * gradient.mean(axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        state.policy_params[name]['b'],
        -learning_rate * np.sign(gradient.mean(axis=0)), atol=1e-6)


@pytest.mark.parametrize('options, message', [
    (dict(loss='l1'), "loss='l1' is not one of"),
    (dict(eval_mode='q_filter'), "eval_mode='q_filter' is not one of"),
    (dict(parallel_map='vmap'), "parallel_map='vmap' is not one of"),
    (dict(policy_lr=0.), 'policy_lr=0.0 must be .* greater'),
    (dict(batch_size=-1), 'batch_size=-1 must be an integer of at least 1'),
    (dict(num_sgd_steps_per_step=0), 'num_sgd_steps_per_step=0 must be')])
def test_refuses_invalid_options(options, message):
  with pytest.raises(ValueError, match=message):
    bc.BCConfig(**options)


def test_refuses_numbers_of_devices_that_do_not_divide_the_batch():
  with pytest.raises(ValueError, match=r'batch_size=8 .*3 devices.*\[1, 2, 4'):
    bc.BCLearner(_make_policy(), bc.BCConfig(batch_size=8),
                 jax.random.PRNGKey(0), _demonstrations(),
                 logger=loggers.NoOpLogger(),
                 devices=jax.local_devices()[:1] * 3)
