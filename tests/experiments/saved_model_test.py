"""Tests exported policies."""

import os
import subprocess
import sys

from acme_msg import networks as networks_lib
from acme_msg.agents import msg
from acme_msg.agents.msg import acting
from acme_msg.experiments import saved_model
import jax
import numpy as np
import pytest

_O, _A = 5, 3
_MODES = ('sample', 'mode', 'q_filter')
_SEEDS = np.array([0, 7, -2], np.int32)
_OBSERVATIONS = np.random.RandomState(0).randn(20, _O).astype(np.float32)

# Runs exported models in a process that can import neither acme_msg nor JAX.
_SERVE = '''
import sys
sys.modules.update(dict.fromkeys(('acme_msg', 'acme', 'jax', 'haiku')))
import numpy as np
import tensorflow as tf
folder, modes = sys.argv[1], sys.argv[2:]
inputs = np.load(f'{folder}/inputs.npz')
for mode in modes:
  model = tf.saved_model.load(f'{folder}/models/{mode}')
  serve = model.signatures['serving_default']
  assert model.params and not any(v.trainable for v in model.params)
  actions = [[model.act(o, s) for s in inputs['seeds']]
             for o in inputs['observations']]
  served = [[serve(observation=tf.constant(o), seed=tf.constant(s))['action']
             for s in inputs['seeds']] for o in inputs['observations']]
  np.savez(f'{folder}/{mode}.npz', actions=actions, served=served)
'''


@pytest.fixture(scope='module', name='networks')
def _networks():
  return networks_lib.MSGNetworks(
      networks_lib.make_policy(_O, _A, (32, 32)),
      networks_lib.make_critic(_O, _A, ensemble_size=2, hidden_sizes=(16,)))


@pytest.fixture(scope='module', name='policies')
def _policies(networks):
  """Returns the policy and its params for each mode."""
  # Larger than initial params, so that actions cover their range.
  policy_params, critic_params = (
      jax.tree.map(lambda x: 2 * np.asarray(x), network.init(
          jax.random.PRNGKey(1))) for network in networks)
  return {
      mode: (acting.make_policy(networks, mode, msg.MSGConfig()),
             [policy_params, critic_params] if mode == 'q_filter'
             else policy_params)
      for mode in _MODES}


@pytest.fixture(scope='module', name='found')
def _found(policies, tmp_path_factory):
  """Returns the exported models' actions in another process, by mode."""
  folder = tmp_path_factory.mktemp('saved_model')
  for mode, (policy, params) in policies.items():
    saved_model.export(str(folder / 'models' / mode), policy, params, _O)
  assert sorted(os.listdir(folder / 'models')) == sorted(_MODES)
  np.savez(folder / 'inputs.npz', observations=_OBSERVATIONS, seeds=_SEEDS)
  done = subprocess.run(
      [sys.executable, '-c', _SERVE, str(folder), *_MODES], cwd='/',
      capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return {mode: np.load(folder / f'{mode}.npz') for mode in _MODES}


@pytest.mark.parametrize('mode', _MODES)
def test_exported_policy_acts_as_in_jax(policies, found, mode):
  policy, params = policies[mode]
  policy = jax.jit(policy)
  expected = np.array([
      [policy(params, jax.random.PRNGKey(s), o[None])[0] for s in _SEEDS]
      for o in _OBSERVATIONS])
  np.testing.assert_allclose(found[mode]['actions'], expected, atol=1e-5)
  np.testing.assert_array_equal(found[mode]['served'], found[mode]['actions'])
  assert (np.ptp(expected, axis=1).max() > 0.1) == (mode != 'mode')


def test_samples_are_those_that_the_docstring_defines(
    networks, policies, found):
  _, params = policies['sample']
  loc, scale = networks.policy.apply(params, _OBSERVATIONS)
  for i, seed in enumerate(_SEEDS):
    noise = jax.random.normal(jax.random.PRNGKey(seed), [_A])
    np.testing.assert_allclose(
        found['sample']['actions'][:, i], np.tanh(loc + scale * noise),
        atol=1e-5)


def test_nothing_is_overwritten(policies, tmp_path):
  path = tmp_path / 'model'
  path.mkdir()
  with pytest.raises(FileExistsError, match='model exists and is not overwr'):
    saved_model.export(str(path), *policies['mode'], _O)
  assert not os.listdir(path)
