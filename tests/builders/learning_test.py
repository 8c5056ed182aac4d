"""Tests that agents from builders learn, and act in Acme's loop."""

import acme
from acme import specs
from acme.utils import loggers
from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.agents import msg
import jax
import numpy as np
import plane
import pytest

_SPEC = specs.make_environment_spec(plane.Plane())


def _logger_fn(label, steps_key=None, task_instance=0):
  del task_instance
  assert (label, steps_key) == ('learner', 'learner_steps')
  return loggers.InMemoryLogger()


def _make_agent(make_networks, builder, dataset):
  """Returns networks and learner, made as Acme's experiments make them."""
  networks = make_networks(_SPEC, builder.config)
  learner = builder.make_learner(
      random_key=jax.random.PRNGKey(0), networks=networks, dataset=dataset,
      logger_fn=_logger_fn, environment_spec=_SPEC)
  return networks, learner


def _mean_return(builder, networks, learner, evaluation=True):
  """Returns the mean of 20 episodes; the environment checks the actions."""
  actor = builder.make_actor(
      random_key=jax.random.PRNGKey(1),
      policy=builder.make_policy(networks, _SPEC, evaluation),
      environment_spec=_SPEC, variable_source=learner)
  loop = acme.EnvironmentLoop(
      plane.Plane(seed=1), actor, logger=loggers.NoOpLogger())
  return np.mean([loop.run_episode()['episode_return'] for _ in range(20)])


def _collect_at_random(num_episodes):
  rng = np.random.default_rng(0)
  return plane.collect(lambda _: rng.uniform(-1., 1., 2), num_episodes)


def test_cloning_reaches_the_return_of_its_data():
  dataset = plane.collect(lambda point: np.tanh(-2. * point), 50)
  config = bc.BCConfig(
      policy_lr=3e-3, batch_size=32, num_sgd_steps_per_step=300,
      actor_network_hidden_sizes=(32,))
  builder = builders.BCBuilder(config)
  networks, learner = _make_agent(
      builders.make_bc_networks, builder, dataset)
  before = _mean_return(builder, networks, learner)
  learner.step()
  after = _mean_return(builder, networks, learner)
  expert = dataset.reward.sum() / 50
  assert before < expert - 3. and abs(after - expert) < 0.5


# The data has a mean return of -11; an optimal policy has about -1.
@pytest.mark.parametrize('options', [
    dict(eval_mode='q_filter'),
    dict(ensemble_method='batch_ensemble', batch_split=False),
], ids=['deep_q_filter', 'batch_ensemble_mode'])
def test_msg_does_better_than_its_data(options):
  dataset = _collect_at_random(100)
  config = msg.MSGConfig(
      policy_lr=1e-3, q_lr=1e-3, discount=0.9, tau=0.05, batch_size=64,
      num_sgd_steps_per_step=400, ensemble_size=4, num_bc_iters=100,
      actor_network_hidden_sizes=(32,), critic_network_hidden_sizes=(32, 32),
      **options)
  builder = builders.MSGBuilder(config)
  networks, learner = _make_agent(
      builders.make_msg_networks, builder, dataset)
  for _ in range(2):
    learner.step()
  assert dataset.reward.sum() / 100 < -10.
  assert _mean_return(builder, networks, learner) > -3.
  # Sampled actions are noisier.
  assert -6.5 < _mean_return(
      builder, networks, learner, evaluation=False) < -3.


@pytest.mark.parametrize('options, mode', [
    (dict(), 'sample'),
    (dict(ensemble_method='multi_head'), 'sample'),
    (dict(ensemble_method='batch_ensemble'), 'mode'),
    (dict(eval_mode='mode'), 'mode')])
def test_default_evaluation_of_msg(options, mode):
  config = msg.MSGConfig(actor_network_hidden_sizes=(4,), **options)
  builder = builders.MSGBuilder(config)
  networks = builders.make_msg_networks(_SPEC, config)
  params = networks.policy.init(jax.random.PRNGKey(0))
  observation = np.ones((1, 2), np.float32)

  def differs(evaluation):
    policy = builder.make_policy(networks, _SPEC, evaluation)
    first, second = (policy(params, jax.random.PRNGKey(seed), observation)
                     for seed in (0, 1))
    return not np.array_equal(first, second)

  assert builder.variable_names == ('policy',)
  assert differs(evaluation=False)
  assert differs(evaluation=True) == (mode == 'sample')


@pytest.mark.parametrize('options, member_batches, min_scale', [
    (dict(), 'same', 0.01),
    (dict(ensemble_method='mimo', mimo_using_obs_tile=True,
          mimo_using_act_tile=True), 'shuffled', 0.01),
    (dict(ensemble_method='batch_ensemble'), 'split', 0.001),
    (dict(ensemble_method='batch_ensemble', batch_split=False), 'same', 0.001),
])
def test_networks_are_those_of_the_config(options, member_batches, min_scale):
  networks = builders.make_msg_networks(_SPEC, msg.MSGConfig(
      ensemble_size=4, use_double_q=True, actor_network_hidden_sizes=(3,),
      critic_network_hidden_sizes=(5,), **options))
  assert networks.critic.num_members == 4
  assert networks.critic.member_batches == member_batches
  critic = jax.eval_shape(networks.critic.init, jax.random.PRNGKey(0))
  q = jax.eval_shape(
      lambda params: networks.critic.apply(
          params, np.zeros((6, 2)), np.zeros((6, 2)), 0).q, critic)
  assert q.shape == (4, 6, 2)
  policy = networks.policy.init(jax.random.PRNGKey(0))
  assert policy['policy_trunk/~/linear_0']['w'].shape == (2, 3)
  # A scale far below its minimum.
  policy['scale']['b'] = np.full(2, -100.)
  np.testing.assert_allclose(
      networks.policy.apply(policy, np.zeros((1, 2))).scale, min_scale,
      rtol=1e-5)
