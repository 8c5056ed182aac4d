"""MSG learns the README's maze, where behaviour cloning fails.

The task is that of the README, with smaller networks and batches. Other
variants learn an easier task in `tests/experiments/examples_test.py`.
"""

from acme import specs
from acme.utils import loggers
from acme_msg import builders
from acme_msg import datasets
from acme_msg.agents import bc
from acme_msg.agents import msg
from acme_msg.datasets import pointmaze_generator
from acme_msg.environments import pointmaze
import jax
import numpy as np
import pytest

_TASK = 'pointmaze-umaze-diverse'
_NUM_EPISODES = 20
_S = 100

_CONFIG = msg.MSGConfig(
    ensemble_size=4, beta=-4., behavior_regularization_type='v1',
    behavior_regularization_alpha=0.1, num_bc_iters=1000, policy_lr=3e-4,
    q_lr=1e-3, alpha_lr=3e-3, tau=0.01, target_entropy=0.5, eval_mode='sample',
    num_sgd_steps_per_step=_S, batch_size=64,
    actor_network_hidden_sizes=(48, 48), critic_network_hidden_sizes=(48, 48))
_EVALUATED_AT = range(70, 101, 5)  # Success rates vary between steps.


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Keeps optimisations, because training takes longer than compilation."""


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('data') / f'{_TASK}.hdf5')
  pointmaze_generator.write(path, _TASK)
  return datasets.load(datasets.find(path), _TASK)


def _success_rate(policy, params):
  """Share of episodes that reach the goal; episodes run in one batch."""
  environments = [pointmaze.PointMaze(_TASK, i) for i in range(_NUM_EPISODES)]
  steps = [environment.reset() for environment in environments]
  key = jax.random.PRNGKey(0)
  while not all(step.last() for step in steps):
    key, action_key = jax.random.split(key)
    actions = np.asarray(policy(
        params, action_key, np.stack([s.observation for s in steps])))
    steps = [step if step.last() else environment.step(action)
             for step, environment, action in zip(steps, environments, actions)]
  return np.mean([step.reward for step in steps])


def _train(agents, networks, dataset):
  """Mean success rates over the last evaluations.

  Args:
    agents: builders that differ in how policies act; the first makes the
      learner.
    networks: makes networks from a spec.
    dataset: the data.

  Returns:
    The rate of each agent's policy.
  """
  spec = specs.make_environment_spec(pointmaze.PointMaze(_TASK, 0))
  learner = agents[0].make_learner(
      jax.random.PRNGKey(1), networks(spec), dataset,
      lambda *args, **kwargs: loggers.NoOpLogger(), spec)
  policies = [
      jax.jit(agent.make_policy(networks(spec), spec, evaluation=True))
      for agent in agents]
  rates = []
  for step in range(1, max(_EVALUATED_AT) + 1):
    learner.step()
    if step in _EVALUATED_AT:
      params, = learner.get_variables(['policy'])
      rates.append([_success_rate(policy, params) for policy in policies])
  return np.mean(rates, axis=0)


def test_msg_learns(dataset):
  rate, = _train(
      [builders.MSGBuilder(_CONFIG)],
      lambda spec: builders.make_msg_networks(spec, _CONFIG), dataset)
  assert rate >= 0.5


def test_cloning_does_not(dataset):
  configs = [
      bc.BCConfig(
          num_sgd_steps_per_step=_S, batch_size=64,
          actor_network_hidden_sizes=(48, 48), eval_mode=eval_mode)
      for eval_mode in ('mode', 'sample')]
  rates = _train(
      [builders.BCBuilder(config) for config in configs],
      lambda spec: builders.make_bc_networks(spec, configs[0]), dataset)
  assert max(rates) < 0.4
