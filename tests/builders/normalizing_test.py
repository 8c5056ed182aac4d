"""Tests of agents that see normalised observations."""

import collections
import pickle

from acme_msg import builders
from acme_msg import datasets
from acme_msg.agents import bc
from acme_msg.agents import msg
from acme_msg.builders import normalizing

# acme_msg must come first: it restores JAX names that Acme imports.
# isort: split
import acme
from acme import specs
from acme import types
from acme import wrappers
from acme.jax.layouts import local_layout
from acme.utils import loggers
import dm_env
import jax
import numpy as np
import plane
import pytest
import reverb

_SPEC = specs.make_environment_spec(
    wrappers.SinglePrecisionWrapper(plane.Plane()))
_BC = bc.BCConfig(policy_lr=3e-3, batch_size=32, num_sgd_steps_per_step=10,
                  actor_network_hidden_sizes=(8,))
_INNER = builders.BCBuilder(_BC)
_BUILDER = builders.NormalizingBuilder(_INNER)
_NETWORKS = builders.make_bc_networks(_SPEC, _BC)


def _no_logger(*unused_args, **unused_kwargs):
  return loggers.NoOpLogger()


def _make_dataset():
  """100 transitions of two numbers of very different size, and a constant."""
  rng = np.random.default_rng(0)
  observation = (rng.normal(size=(101, 2)) * (1, 0) + (1000, 3)).astype(
      np.float32)
  action = np.tanh(observation - 1000)
  return types.Transition(
      observation[:-1], action[:-1], np.zeros(100, np.float32),
      np.ones(100, np.float32), observation[1:], {'next_action': action[1:]})


def _make_learner(builder, dataset, networks=_NETWORKS):
  return builder.make_learner(
      jax.random.PRNGKey(0), networks, dataset, _no_logger, _SPEC)


def _normalize(x):
  # By hand: the deviation of the second number is 0, to which 1e-3 is added.
  # Rounded as the statistics are, since Adam enlarges differences of rounding.
  first = _make_dataset().observation[:, 0].astype(np.float64)
  return (x - np.float32([first.mean(), 3])) / np.float32(
      [first.std() + 1e-3, 1e-3])


def _normalize_batch(batch):
  return batch._replace(
      observation=_normalize(batch.observation),
      next_observation=_normalize(batch.next_observation))


def _assert_close(x, y):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(
      x, y, rtol=1e-4, atol=1e-5), x, y)


@pytest.fixture(name='learner', scope='module')
def fixture_learner():
  """A learner after one step on `_make_dataset()`."""
  learner = _make_learner(_BUILDER, _make_dataset())
  learner.step()
  return learner


def test_learner_is_that_of_normalised_data(learner):
  by_hand = _make_learner(_INNER, _normalize_batch(_make_dataset()))
  by_hand.step()
  _assert_close(learner.save().learner, by_hand.save())


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


def test_statistics_are_saved_with_the_policy(learner):
  state = pickle.loads(pickle.dumps(learner.save()))
  other = _make_learner(_BUILDER, _make_dataset())
  other.restore(state)
  names = list(_BUILDER.variable_names)
  assert names == ['policy', 'observation_statistics']
  jax.tree.map(np.testing.assert_array_equal,
               other.get_variables(names), learner.get_variables(names))
  np.testing.assert_allclose(
      learner.get_variables(names)[1].scale[1], 1e-3, rtol=1e-5)


def test_a_state_of_other_statistics_is_refused_unless_they_are_given(learner):
  state = learner.save()
  shifted = _make_dataset()._replace(
      observation=_make_dataset().observation + np.float32(1))
  other = _make_learner(_BUILDER, shifted)
  before = other.save()
  with pytest.raises(
      ValueError, match='have the mean.*999.*is normalised.*1000'):
    other.restore(state)
  jax.tree.map(np.testing.assert_array_equal, other.save(), before)

  given = _make_learner(
      builders.NormalizingBuilder(_INNER, state.statistics), shifted)
  given.restore(state)
  given.step()
  by_hand = _make_learner(_INNER, _normalize_batch(shifted))
  by_hand.restore(state.learner)
  by_hand.step()
  _assert_close(given.save().learner, by_hand.save())


def test_stream_is_normalised_by_its_dataset(learner):
  stream = datasets.make_stream(
      _make_dataset(), _BUILDER.transitions_per_step)
  streamed = _make_learner(_BUILDER, stream)
  streamed.restore(learner.save())  # The statistics agree but for rounding.
  _assert_close(streamed.save().statistics, learner.save().statistics)
  streamed.step()
  jax.tree.map(lambda x: np.testing.assert_array_less(np.abs(x), 100),
               streamed.get_variables(['policy']))


def test_named_tuples_of_other_classes_are_whole_datasets(learner):
  sample = collections.namedtuple('Sample', types.Transition._fields)
  other = _make_learner(_BUILDER, sample(*_make_dataset()))
  jax.tree.map(np.testing.assert_array_equal,
               other.save().statistics, learner.save().statistics)


def test_other_iterators_are_refused():
  with pytest.raises(ValueError, match='normalised only.*list_iterator'):
    _make_learner(_BUILDER, iter([_make_dataset()]))


def test_statistics_normalise_by_mean_and_scale():
  found = normalizing.Statistics(np.array([1., 2.]), np.array([2., 4.])).apply(
      np.array([[3., 2.], [1., 0.]]))
  np.testing.assert_array_equal(found, [[1., 0.], [0., -.5]])


def _adapt(**kwargs):
  return builders.ActorLearnerBuilder(
      _BUILDER, _SPEC, logger_fn=_no_logger, **kwargs)


def test_learns_from_actors_with_the_statistics_of_a_state(learner):
  state = learner.save()
  adapted = _adapt(state=state)
  server = reverb.Server(adapted.make_replay_tables(_SPEC))
  try:
    client = reverb.Client(f'localhost:{server.port}')
    online = adapted.make_learner(
        jax.random.PRNGKey(1), _NETWORKS,
        adapted.make_dataset_iterator(client))
    actor = adapted.make_actor(
        jax.random.PRNGKey(1),
        _BUILDER.make_policy(_NETWORKS, _SPEC, evaluation=False),
        adapted.make_adder(client), online)
    acme.EnvironmentLoop(
        wrappers.SinglePrecisionWrapper(plane.Plane()), actor,
        logger=loggers.NoOpLogger()).run(num_episodes=2)
    online.step()
    batch = next(adapted.make_dataset_iterator(client))
  finally:
    server.stop()
  # The same step on one batch from the table that was normalised by hand.
  online = adapted.make_learner(
      jax.random.PRNGKey(1), _NETWORKS, iter([batch]))
  by_hand = _make_learner(_INNER, iter([_normalize_batch(batch)]))
  by_hand.restore(state.learner)
  online.step(), by_hand.step()
  _assert_close(online.save().learner, by_hand.save())
  jax.tree.map(np.testing.assert_array_equal,
               online.save().statistics, state.statistics)


@pytest.mark.parametrize('offline', [False, True])
def test_runs_in_a_layout(learner, offline):
  state = None if offline else learner.save()
  adapted = _adapt(
      state=state, dataset_factory=_make_dataset if offline else None)
  layout = local_layout.LocalLayout(
      0, _SPEC, adapted, _NETWORKS,
      _BUILDER.make_policy(_NETWORKS, _SPEC, evaluation=offline),
      min_replay_size=1, samples_per_insert=1., batch_size=10,
      checkpoint=False)
  before, = layout.get_variables(['policy'])
  acme.EnvironmentLoop(
      wrappers.SinglePrecisionWrapper(plane.Plane()), layout,
      logger=loggers.NoOpLogger()).run(num_episodes=3)
  after, statistics = layout.get_variables(_BUILDER.variable_names)
  assert all(np.any(x != y) for x, y in zip(
      jax.tree.leaves(before), jax.tree.leaves(after)))
  jax.tree.map(np.testing.assert_array_equal,
               statistics, learner.save().statistics)


def test_unknown_statistics_are_refused_before_any_node_starts(learner):
  with pytest.raises(ValueError, match='from actors alone.*statistics='):
    _adapt()
  with pytest.raises(ValueError, match='NormalizingBuilder.*not a.*State'):
    _adapt(state=learner.save().learner)
  sass = builders.MSGBuilder(msg.MSGConfig(use_sass=True))
  with pytest.raises(ValueError, match='use_sass needs the data\'s next act'):
    builders.ActorLearnerBuilder(
        builders.NormalizingBuilder(sass), _SPEC, logger_fn=_no_logger)
