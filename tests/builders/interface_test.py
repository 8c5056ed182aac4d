"""Tests that our builders have the interface of today's Acme."""

import dataclasses
import inspect

import acme
from acme import specs
from acme.utils import counting
from acme.utils import loggers
from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.agents import msg
import jax
import numpy as np
import plane
import pytest

_BUILDERS = [builders.MSGBuilder(msg.MSGConfig()),
             builders.BCBuilder(bc.BCConfig())]
_WITH_NETWORKS = [
    (builders.make_msg_networks, msg.MSGConfig()),
    (builders.make_bc_networks, bc.BCConfig())]

# Parameters of Acme's `OfflineBuilder` on its repository's main branch.
_INTERFACE = {
    'make_learner': ('random_key', 'networks', 'dataset', 'logger_fn',
                     'environment_spec', 'counter'),
    'make_actor': (
        'random_key', 'policy', 'environment_spec', 'variable_source'),
    'make_policy': ('networks', 'environment_spec', 'evaluation'),
}


@pytest.mark.parametrize('builder', _BUILDERS)
@pytest.mark.parametrize('method', _INTERFACE)
def test_signatures_are_those_of_acme(builder, method):
  parameters = inspect.signature(getattr(builder, method)).parameters
  assert tuple(parameters) == _INTERFACE[method]
  for name, parameter in parameters.items():
    if name == 'counter':
      assert parameter.kind == parameter.KEYWORD_ONLY
    else:
      assert parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    optional = name in ('counter', 'variable_source')
    assert (parameter.default is None) == optional


@pytest.mark.parametrize('builder', _BUILDERS)
def test_are_offline_builders(builder):
  assert isinstance(builder, builders.OfflineBuilder)
  assert builders.OfflineBuilder.__abstractmethods__ == set(_INTERFACE)


def test_public_names_exist():
  assert all(getattr(builders, name) for name in builders.__all__)
  assert not hasattr(builders, 'no_such_name')


@pytest.mark.parametrize('builder', _BUILDERS)
def test_actors_need_a_variable_source(builder):
  with pytest.raises(ValueError, match='variable_source'):
    builder.make_actor(None, None, None)


def _spec(observations=(3,), actions=(2,), minimum=-1., maximum=1.):
  scalar = specs.Array((), np.float32)
  observations = (
      specs.Array(observations, np.float32)
      if isinstance(observations, tuple) else observations)
  return specs.EnvironmentSpec(
      observations,
      specs.BoundedArray(actions, np.float32, minimum, maximum),
      scalar, scalar)


@pytest.mark.parametrize('make_networks, config', _WITH_NETWORKS)
@pytest.mark.parametrize('spec, message', [
    (_spec(observations=(8, 8, 3)), 'observations must be one vector'),
    (_spec(observations=()), 'observations must be one vector'),
    (_spec(observations={'a': specs.Array((2,), np.float32)}),
     'observations must be one vector.*Flatten'),
    (_spec(actions=(2, 2)), 'actions must be one vector'),
    (_spec(actions=()), 'actions must be one vector'),
    (_spec(maximum=2.), r'\[-1, 1\].*-1.0 to 2.0.*CanonicalSpecWrapper'),
    (_spec(minimum=[-1., -0.5]), 'CanonicalSpecWrapper'),
    (_spec()._replace(actions=specs.Array((2,), np.float32)),
     'CanonicalSpecWrapper'),
    (_spec()._replace(actions=specs.DiscreteArray(4)),
     'actions must be one vector')])
def test_refuses_environments_that_do_not_fit(
    make_networks, config, spec, message):
  with pytest.raises(ValueError, match=message):
    make_networks(spec, config)


@pytest.mark.parametrize('make_networks, config', _WITH_NETWORKS)
def test_takes_environments_that_fit(make_networks, config):
  assert make_networks(specs.make_environment_spec(plane.Plane()), config)


_SMALL = dict(batch_size=4, num_sgd_steps_per_step=3,
              actor_network_hidden_sizes=(4,))
_SMALL_MSG = msg.MSGConfig(
    ensemble_size=2, critic_network_hidden_sizes=(4,), **_SMALL)


class _CountingSource:
  """Serves the number of requests so far as the only weight."""

  def __init__(self):
    self.count = 0

  def get_variables(self, names):
    self.count += 1
    return [np.float32(self.count)] * len(names)


@pytest.mark.parametrize('builder', _BUILDERS)
def test_actors_keep_one_set_of_weights_for_an_episode(builder):
  acted = []

  def policy(params, key, observation):
    del key
    jax.debug.callback(lambda x: acted.append(float(x)), params)
    return 0. * observation + params / 100.

  actor = builder.make_actor(
      jax.random.PRNGKey(0), policy,
      specs.make_environment_spec(plane.Plane()), _CountingSource())
  loop = acme.EnvironmentLoop(
      plane.Plane(), actor, logger=loggers.NoOpLogger())
  for _ in range(3):
    loop.run_episode()
  jax.effects_barrier()
  episodes = np.reshape(acted, (3, 10))
  assert np.all(episodes == episodes[:, :1])
  assert len(set(episodes[:, 0])) == 3


@pytest.mark.parametrize('make_networks, builder', [
    (builders.make_msg_networks, builders.MSGBuilder(_SMALL_MSG)),
    (builders.make_bc_networks, builders.BCBuilder(bc.BCConfig(**_SMALL)))])
def test_learner_uses_the_logger_and_counter_it_is_given(
    make_networks, builder):
  made, parent = {}, counting.Counter()

  def logger_fn(label, steps_key=None, task_instance=0):
    del task_instance
    made[label] = steps_key, loggers.InMemoryLogger()
    return made[label][1]

  spec = specs.make_environment_spec(plane.Plane())
  learner = builder.make_learner(
      jax.random.PRNGKey(0), make_networks(spec, builder.config),
      plane.collect(lambda point: -point, 2), logger_fn, spec,
      counter=counting.Counter(parent, prefix='learner', time_delta=0.))
  parent.increment(evaluator_episodes=7)
  learner.step(), learner.step()
  assert parent.get_counts()['learner_steps'] == 6
  assert list(made) == ['learner']
  steps_key, log = made['learner']
  assert [row[steps_key] for row in log.data] == [3, 6]
  assert log.data[0]['evaluator_episodes'] == 7
  assert np.isfinite(log.data[1]['actor_loss'])


def test_batches_without_what_options_need_are_refused_at_construction():
  builder = builders.MSGBuilder(
      dataclasses.replace(_SMALL_MSG, use_sass=True))
  spec = specs.make_environment_spec(plane.Plane())
  dataset = plane.collect(lambda point: -point, 2)
  with pytest.raises(ValueError, match='use_sass needs.*next_action'):
    builder.make_learner(
        jax.random.PRNGKey(0),
        builders.make_msg_networks(spec, builder.config),
        builders.sample_batches(
            dataset, builder.transitions_per_step, jax.random.PRNGKey(0)),
        lambda *_, **__: loggers.NoOpLogger(), spec)
