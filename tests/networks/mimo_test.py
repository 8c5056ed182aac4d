"""Tests of MIMO and multi-head ensembles."""

from acme_msg import networks
import jax
import numpy as np
import pytest

_N, _O, _A, _B = 3, 4, 2, 5
_LAYERS = ('critic_trunk/~/linear_0', 'critic_trunk/~/linear_1', 'q')


def _make(method='mimo', size=_N, observations=False, actions=False):
  return networks.make_critic(
      _O, _A, ensemble_method=method, ensemble_size=size, hidden_sizes=(7, 6),
      mimo_using_obs_tile=observations, mimo_using_act_tile=actions)


def _expected(relu_mlp, params, inputs):
  layers = [(params[0][name]['w'], params[0][name]['b']) for name in _LAYERS]
  return relu_mlp(layers, inputs).T[:, :, None]


@pytest.mark.parametrize('observations', [False, True])
@pytest.mark.parametrize('actions', [False, True])
def test_same_inputs_fill_all_blocks(
    observations, actions, relu_mlp, randomize):
  critic = _make(observations=observations, actions=actions)
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  rng = np.random.default_rng(0)
  observation = rng.normal(size=(_B, _O)).astype(np.float32)
  action = rng.normal(size=(_B, _A)).astype(np.float32)
  inputs = [
      list(observation[b]) * (_N if observations else 1)
      + list(action[b]) * (_N if actions else 1) for b in range(_B)]
  output = jax.jit(critic.apply)(params, observation, action)
  assert output.q.shape == (_N, _B, 1) and output.features.shape == (1, _B, 6)
  np.testing.assert_allclose(
      output.q, _expected(relu_mlp, params, inputs), atol=1e-5)
  # Members see different rows only if both inputs are tiled.
  assert critic.member_batches == (
      'shuffled' if observations and actions else 'same')
  assert critic.representation == (
      None if observations or actions else 'joint')


def test_each_member_fills_its_block(relu_mlp, randomize):
  critic = _make(observations=True, actions=True)
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  rng = np.random.default_rng(1)
  observation = rng.normal(size=(_N, _B, _O)).astype(np.float32)
  action = rng.normal(size=(_N, _B, _A)).astype(np.float32)
  inputs = [
      [x for i in range(_N) for x in observation[i, b]]
      + [x for i in range(_N) for x in action[i, b]] for b in range(_B)]
  np.testing.assert_allclose(
      jax.jit(critic.apply)(params, observation, action).q,
      _expected(relu_mlp, params, inputs), atol=1e-5)


@pytest.mark.parametrize('one, other', [
    (_make('multi_head'), _make('mimo')),
    (_make('multi_head', 1), _make('mimo', 1, True, True))],
    ids=['without tiles', 'of one member'])
def test_multi_head_is_a_mimo(one, other):
  params, same = (
      jax.jit(critic.init)(jax.random.PRNGKey(4)) for critic in (one, other))
  jax.tree.map(np.testing.assert_array_equal, params, same)
  args = np.ones((2, _O), np.float32), np.ones((2, _A), np.float32)
  np.testing.assert_array_equal(
      one.apply(params, *args).q, other.apply(same, *args).q)
