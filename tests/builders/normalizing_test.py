"""Tests of agents that see normalised observations."""

import pickle

from acme import specs
from acme import types
from acme.utils import loggers
from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.agents import msg
from acme_msg.builders import normalizing
from acme_msg.datasets.delivery import make
import dm_env
import jax
import numpy as np
import pytest

_SPEC = specs.EnvironmentSpec(
    observations=specs.Array((2,), np.float32),
    actions=specs.BoundedArray((1,), np.float32, -1., 1.),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0., 1.))
_BC = bc.BCConfig(policy_lr=3e-3, batch_size=32, num_sgd_steps_per_step=10,
                  actor_network_hidden_sizes=(8,))


def _make_dataset():
  """100 transitions of two numbers of very different size, and a constant."""
  rng = np.random.default_rng(0)
  observation = (rng.normal(size=(101, 2)) * (1, 0) + (1000, 3)).astype(
      np.float32)
  action = np.tanh(observation[:, :1] - 1000)
  return types.Transition(
      observation[:-1], action[:-1], np.zeros(100, np.float32),
      np.ones(100, np.float32), observation[1:], {'next_action': action[1:]})


def _make_learner(builder, dataset, networks):
  return builder.make_learner(
      jax.random.PRNGKey(0), networks, dataset,
      lambda *_, **__: loggers.NoOpLogger(), _SPEC)


def _normalize(x):
  # By hand: the deviation of the second number is 0, to which 1e-3 is added.
  first = _make_dataset().observation[:, 0].astype(np.float64)
  return ((x - [first.mean(), 3]) / [first.std() + 1e-3, 1e-3]).astype(
      np.float32)


def test_learner_is_that_of_normalised_data():
  dataset = _make_dataset()
  inner = builders.BCBuilder(_BC)
  builder = builders.NormalizingBuilder(inner)
  networks = builders.make_bc_networks(_SPEC, _BC)
  ours = _make_learner(builder, dataset, networks)
  by_hand = _make_learner(inner, dataset._replace(
      observation=_normalize(dataset.observation),
      next_observation=_normalize(dataset.next_observation)), networks)
  ours.step(), by_hand.step()
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
      ours.save().learner, by_hand.save())


@pytest.mark.parametrize('eval_mode', ['mode', 'q_filter'])
def test_actor_normalises_what_it_sees(eval_mode):
  config = msg.MSGConfig(
      ensemble_size=2, batch_size=8, eval_mode=eval_mode, num_eval_samples=5,
      actor_network_hidden_sizes=(8,), critic_network_hidden_sizes=(8,))
  inner = builders.MSGBuilder(config)
  builder = builders.NormalizingBuilder(inner)
  networks = builders.make_msg_networks(_SPEC, config)
  learner = _make_learner(builder, _make_dataset(), networks)
  actions = []
  for maker, observation in (
      (builder, np.array([1001., 3.], np.float32)),
      (inner, _normalize(np.array([1001., 3.])))):
    actor = maker.make_actor(
        jax.random.PRNGKey(1), maker.make_policy(networks, _SPEC, True), _SPEC,
        learner)
    actor.observe_first(dm_env.restart(observation))
    actions.append(actor.select_action(observation))
  np.testing.assert_allclose(*actions, rtol=1e-4, atol=1e-5)


def test_statistics_are_saved_with_the_policy():
  builder = builders.NormalizingBuilder(builders.BCBuilder(_BC))
  networks = builders.make_bc_networks(_SPEC, _BC)
  learner = _make_learner(builder, _make_dataset(), networks)
  learner.step()
  state = pickle.loads(pickle.dumps(learner.save()))
  other_data = jax.tree.map(lambda x: 0 * x, _make_dataset())
  other = _make_learner(builder, other_data, networks)
  other.restore(state)
  names = list(builder.variable_names)
  assert names == ['policy', 'observation_statistics']
  jax.tree.map(np.testing.assert_array_equal,
               other.get_variables(names), learner.get_variables(names))
  np.testing.assert_allclose(
      learner.get_variables(names)[1].scale[1], 1e-3, rtol=1e-5)


def test_stream_is_normalised_by_its_dataset():
  builder = builders.NormalizingBuilder(builders.BCBuilder(_BC))
  networks = builders.make_bc_networks(_SPEC, _BC)
  stream = make.make_dataset(
      _make_dataset(), batch_size=builder.transitions_per_step)
  streamed, resident = (
      _make_learner(builder, data, networks).save().statistics
      for data in (stream, _make_dataset()))
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
      streamed, resident)
  learner = _make_learner(builder, stream, networks)
  learner.step()
  jax.tree.map(lambda x: np.testing.assert_array_less(np.abs(x), 100),
               learner.get_variables(['policy']))


def test_other_iterators_are_refused():
  builder = builders.NormalizingBuilder(builders.BCBuilder(_BC))
  with pytest.raises(ValueError, match='normalised only.*list_iterator'):
    _make_learner(builder, iter([_make_dataset()]),
                  builders.make_bc_networks(_SPEC, _BC))


def test_statistics_normalise_by_mean_and_scale():
  found = normalizing.Statistics(np.array([1., 2.]), np.array([2., 4.])).apply(
      np.array([[3., 2.], [1., 0.]]))
  np.testing.assert_array_equal(found, [[1., 0.], [0., -.5]])
