"""The interface that today's Acme gives offline agents."""

import inspect

from acme import specs
from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.agents import msg
from acme_msg.builders import base
from acme_msg.builders import bc as bc_builder
from acme_msg.builders import msg as msg_builder
import numpy as np
import plane
import pytest

_BUILDERS = [builders.MSGBuilder(msg.MSGConfig()),
             builders.BCBuilder(bc.BCConfig())]
_WITH_NETWORKS = [(msg_builder, msg.MSGConfig()), (bc_builder, bc.BCConfig())]

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
  assert isinstance(builder, base.OfflineBuilder)
  assert base.OfflineBuilder.__abstractmethods__ == set(_INTERFACE)


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


@pytest.mark.parametrize('module, config', _WITH_NETWORKS)
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
def test_refuses_environments_that_do_not_fit(module, config, spec, message):
  with pytest.raises(ValueError, match=message):
    module.make_networks(spec, config)


@pytest.mark.parametrize('module, config', _WITH_NETWORKS)
def test_takes_environments_that_fit(module, config):
  assert module.make_networks(
      specs.make_environment_spec(plane.Plane()), config)
