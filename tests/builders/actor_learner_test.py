"""Tests of our builders under Acme 0.4.0, on replay tables and datasets."""

from concurrent import futures
import threading

from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.agents import msg

# acme_msg must come first: it restores JAX names that Acme imports.
# isort: split
import acme
from acme import specs
from acme import wrappers
from acme.jax import savers
from acme.jax.layouts import local_layout
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np
import plane
import pytest
import reverb


def _make_environment(seed=0):
  """Returns the environment in float32, since tables check dtypes."""
  return wrappers.SinglePrecisionWrapper(plane.Plane(seed))


_SPEC = specs.make_environment_spec(_make_environment())
_CONFIG = msg.MSGConfig(
    policy_lr=1e-3, q_lr=1e-3, discount=0.9, tau=0.05, batch_size=16,
    num_sgd_steps_per_step=4, ensemble_size=2, num_bc_iters=0, beta=0.,
    actor_network_hidden_sizes=(32,), critic_network_hidden_sizes=(32, 32),
    eval_mode='q_filter')
_BUILDER = builders.MSGBuilder(_CONFIG)
_NETWORKS = builders.make_msg_networks(_SPEC, _CONFIG)
_CLONER = builders.BCBuilder(bc.BCConfig(
    policy_lr=3e-3, batch_size=32, num_sgd_steps_per_step=20,
    actor_network_hidden_sizes=(32,)))


def _no_logger(*unused_args, **unused_kwargs):
  return loggers.NoOpLogger()


def _adapt(builder=_BUILDER, **kwargs):
  return builders.ActorLearnerBuilder(
      builder, _SPEC, logger_fn=_no_logger, **kwargs)


def _collect_at_random(num_episodes=20):
  rng = np.random.default_rng(0)
  return plane.collect(lambda _: rng.uniform(-1., 1., 2), num_episodes)


@pytest.fixture(name='make_client')
def _make_client():
  """Returns a function that serves a builder's tables until the test ends."""
  servers = []

  def make_client(builder):
    servers.append(reverb.Server(builder.make_replay_tables(_SPEC)))
    return reverb.Client(f'localhost:{servers[-1].port}')

  yield make_client
  for server in servers:
    server.stop()


@pytest.fixture(name='offline', scope='module')
def _offline():
  """A learner after a few steps on a dataset."""
  learner = _make_offline_learner(0)
  for _ in range(5):
    learner.step()
  return learner


def _make_offline_learner(seed):
  return _BUILDER.make_learner(
      jax.random.PRNGKey(seed), _NETWORKS, _collect_at_random(), _no_logger,
      _SPEC)


def test_batches_are_what_actors_add(make_client):
  builder = _adapt(
      _CLONER, transform=lambda t: t._replace(reward=t.reward - 100))
  client = make_client(builder)
  networks = builders.make_bc_networks(_SPEC, _CLONER.config)
  learner = builder.make_learner(jax.random.PRNGKey(0), networks, iter(()))
  actor = builder.make_actor(
      jax.random.PRNGKey(1),
      _CLONER.make_policy(networks, _SPEC, evaluation=False),
      builder.make_adder(client), learner)
  environment, seen = _make_environment(), {}
  for _ in range(2):
    timestep = environment.reset()
    actor.observe_first(timestep)
    while not timestep.last():
      observation = timestep.observation
      action = actor.select_action(observation)
      timestep = environment.step(action)
      actor.observe(action, timestep)
      seen[observation.tobytes()] = (
          action, timestep.reward - 100, timestep.observation)
  assert client.server_info()['priority_table'].current_size == 20

  batch = next(builder.make_dataset_iterator(client))
  assert batch.reward.shape == (640,) and batch.extras == ()
  found = set()
  for row in zip(*batch[:5]):
    observation, action, reward, discount, next_observation = row
    wanted = seen[observation.tobytes()]
    np.testing.assert_array_equal(action, wanted[0])
    assert reward == pytest.approx(wanted[1]) and discount == 1.
    np.testing.assert_array_equal(next_observation, wanted[2])
    found.add(observation.tobytes())
  assert len(found) > 10


def test_samples_per_insert_limits_the_rate(make_client):
  client = make_client(_adapt(
      min_replay_size=40, samples_per_insert=8., max_replay_size=123))
  info = client.server_info()['priority_table']
  assert info.max_size == 123
  limiter = info.rate_limiter_info
  assert limiter.min_size_to_sample == 40 and limiter.samples_per_insert == 8.
  assert limiter.min_diff == 40 * 8 - 32 and limiter.max_diff == 40 * 8 + 32


def test_refuses_options_that_the_table_cannot_serve():
  builder = builders.MSGBuilder(msg.MSGConfig(use_sass=True))
  with pytest.raises(ValueError, match='use_sass needs the data\'s next act'):
    _adapt(builder)
  assert _adapt(builder, dataset_factory=_collect_at_random)


def test_refuses_a_dataset_without_what_options_need():
  config = msg.MSGConfig(
      use_sass=True, ensemble_size=2, critic_network_hidden_sizes=(4,),
      actor_network_hidden_sizes=(4,))
  builder = _adapt(
      builders.MSGBuilder(config), dataset_factory=_collect_at_random)
  with pytest.raises(ValueError, match='use_sass needs.*are a tuple'):
    builder.make_learner(
        jax.random.PRNGKey(0), builders.make_msg_networks(_SPEC, config),
        iter(()))


def test_with_a_dataset_the_table_stays_empty(make_client):
  builder = _adapt(dataset_factory=_collect_at_random)
  client = make_client(builder)
  assert builder.make_adder(client) is None
  assert list(builder.make_dataset_iterator(client)) == []


def _make_layout(builder, adapted, networks, evaluation=True, **kwargs):
  return local_layout.LocalLayout(
      0, _SPEC, adapted, networks,
      builder.make_policy(networks, _SPEC, evaluation), min_replay_size=1,
      samples_per_insert=1., **kwargs)


def _run(layout, num_episodes, seed=0):
  """Returns the returns of a layout's episodes."""
  loop = acme.EnvironmentLoop(
      _make_environment(seed), layout, logger=loggers.NoOpLogger())
  return [float(loop.run_episode()['episode_return'])
          for _ in range(num_episodes)]


def test_layout_restores_learner_and_counter(tmp_path):
  """The layout's own checkpointer saves them."""
  networks = builders.make_bc_networks(_SPEC, _CLONER.config)
  experts = lambda: plane.collect(lambda point: np.tanh(-2. * point), 50)

  def make_layout(counter):
    return _make_layout(
        _CLONER, _adapt(_CLONER, dataset_factory=experts), networks,
        workdir=str(tmp_path), batch_size=10, counter=counter,
        prefetch_size=2)

  counter = counting.Counter(prefix='learner')
  layout = make_layout(counter)
  returns = _run(layout, 30)
  assert np.mean(returns[-10:]) > np.mean(returns[:3]) + 2.
  assert counter.get_counts()['learner_steps'] == 30 * 20
  layout.save()

  counter = counting.Counter(prefix='learner')
  again = make_layout(counter)
  jax.tree.map(np.testing.assert_array_equal, again.get_variables(['policy']),
               layout.get_variables(['policy']))
  assert counter.get_counts()['learner_steps'] == 30 * 20


def test_fine_tunes_online(offline):
  """The policy is poor after few offline steps, and improves online."""

  def evaluate(source):
    actor = _BUILDER.make_actor(
        jax.random.PRNGKey(1), _BUILDER.make_policy(_NETWORKS, _SPEC, True),
        _SPEC, source)
    return np.mean(_run(actor, 20, seed=1))

  layout = _make_layout(
      _BUILDER, _adapt(state=offline.save()), _NETWORKS, evaluation=False,
      batch_size=2, checkpoint=False)
  jax.tree.map(np.testing.assert_array_equal, layout.get_variables(
      ['policy', 'critic']), offline.get_variables(['policy', 'critic']))
  before = evaluate(layout)
  _run(layout, 60)
  assert evaluate(layout) > before + 2.


def test_variables_are_served_while_learning():
  learner = _CLONER.make_learner(
      jax.random.PRNGKey(0), builders.make_bc_networks(_SPEC, _CLONER.config),
      _collect_at_random(50), _no_logger, _SPEC)
  learner.step()
  stop = threading.Event()

  def ask():
    count = 0
    while not stop.is_set():
      learner.get_variables(['policy'])
      learner.save()
      count += 1
    return count

  with futures.ThreadPoolExecutor() as executor:
    asking = [executor.submit(ask) for _ in range(2)]
    for _ in range(300):
      learner.step()
    stop.set()
    assert all(future.result() > 0 for future in asking)


def test_learner_is_saved_by_acme_in_files(offline, tmp_path):
  other = _make_offline_learner(1)
  savers.save_to_path(str(tmp_path), offline.save())
  other.restore(savers.restore_from_path(str(tmp_path)))
  jax.tree.map(np.testing.assert_array_equal, other.save(), offline.save())
