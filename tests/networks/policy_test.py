"""Tests of the policy network."""

from acme_msg import networks
from acme_msg.networks import policy as policy_lib
import jax
import numpy as np
import pytest


def _layers(params, head):
  trunk = sorted(name for name in params if name.startswith('policy_trunk'))
  return [(params[name]['w'], params[name]['b']) for name in trunk + [head]]


@pytest.mark.parametrize('options, min_scale', [
    ({}, .01), ({'min_scale': 1e-3}, .001)])
def test_distribution_is_two_heads_on_a_relu_mlp(
    options, min_scale, relu_mlp, randomize):
  policy = networks.make_policy(5, 2, (6, 4), **options)
  params = randomize(jax.jit(policy.init)(jax.random.PRNGKey(0)))
  observation = np.random.default_rng(0).normal(
      size=(3, 7, 5)).astype(np.float32)
  loc, scale = policy.apply(params, observation)
  np.testing.assert_allclose(
      loc, relu_mlp(_layers(params, 'loc'), observation), atol=1e-5)
  raw = relu_mlp(_layers(params, 'scale'), observation)
  np.testing.assert_allclose(
      scale, np.log1p(np.exp(raw)) + min_scale, atol=1e-5)


def test_scale_has_a_floor_and_no_ceiling():
  policy = networks.make_policy(1, 1, (1,))
  params = jax.tree.map(
      np.zeros_like, jax.jit(policy.init)(jax.random.PRNGKey(0)))
  for raw, scale in ((-50., .01), (80., 80.01)):
    params['scale']['b'] = np.float32([raw])
    np.testing.assert_allclose(
        policy.apply(params, np.zeros((1, 1))).scale, [[scale]], rtol=1e-5)


def test_ways_to_act():
  policy = networks.make_policy(3, 2, (4,))
  params = jax.jit(policy.init)(jax.random.PRNGKey(1))
  observation = np.ones((4000, 3), np.float32)
  loc, scale = (np.asarray(x)[0] for x in policy.apply(params, observation))
  key = jax.random.PRNGKey(2)
  mode = policy_lib.mode_fn(policy)(params, key, observation)
  np.testing.assert_allclose(
      mode, np.broadcast_to(np.tanh(loc), mode.shape), rtol=1e-5)
  sample = np.asarray(policy_lib.sample_fn(policy)(params, key, observation))
  assert sample.shape == (4000, 2)
  gaussian = np.arctanh(sample.astype(np.float64))
  np.testing.assert_allclose(gaussian.mean(0), loc, atol=5 * scale.max() / 63)
  np.testing.assert_allclose(gaussian.std(0), scale, rtol=.06)
