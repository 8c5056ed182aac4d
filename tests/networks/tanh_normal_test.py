"""Tests of the squashed Gaussian."""

# Acme needs `acme_msg` to be imported first.
import acme_msg  # noqa: F401

# isort: split
from acme.jax.networks import distributional
from acme_msg.networks import tanh_normal
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
import tensorflow_probability.substrates.jax as tfp

# Every location with every scale and action.
_LOC, _SCALE, _ACTION = (
    x.ravel().astype(np.float32) for x in np.meshgrid(
        [-9., -1.3, 0., .4, 6.], [.01, .3, 1.7],
        [-1., -.9995, -.9985, -.5, 0., .7, .998, .9991, 1.], indexing='ij'))
_INSIDE = np.abs(_ACTION) < .999


def _log_prob(loc, scale, action):
  """Log-probability of single actions, `[X]`."""
  return _joint_log_prob(loc[:, None], scale[:, None], action[:, None])


@jax.jit
def _joint_log_prob(loc, scale, action):
  return tanh_normal.log_prob(tanh_normal.TanhNormal(loc, scale), action)


def test_log_prob_is_the_change_of_variables_inside_the_threshold():
  loc, scale, action = (
      x[_INSIDE].astype(np.float64) for x in (_LOC, _SCALE, _ACTION))
  expected = (
      stats.norm.logpdf(np.arctanh(action), loc, scale)
      - np.log(1 - action ** 2))
  np.testing.assert_allclose(
      _log_prob(_LOC, _SCALE, _ACTION)[_INSIDE], expected, rtol=2e-4, atol=1e-4)


def test_log_prob_is_the_mean_density_of_the_tail_beyond_the_threshold():
  edge, width = np.arctanh(.999), 1 - .999
  loc, scale = _LOC.astype(np.float64), _SCALE.astype(np.float64)
  left = stats.norm.logcdf(-edge, loc, scale) - np.log(width)
  right = stats.norm.logsf(edge, loc, scale) - np.log(width)
  expected = np.where(_ACTION < 0, left, right)[~_INSIDE]
  np.testing.assert_allclose(
      _log_prob(_LOC, _SCALE, _ACTION)[~_INSIDE], expected, rtol=2e-4,
      atol=1e-4)


def test_log_prob_integrates_to_one():
  edges = np.linspace(-1, 1, 40_001)
  middles = ((edges[1:] + edges[:-1]) / 2).astype(np.float32)
  density = np.exp(_log_prob(
      np.full_like(middles, .8), np.full_like(middles, .9), middles))
  np.testing.assert_allclose(np.sum(density) * 2 / 40_000, 1., atol=1e-3)


@pytest.mark.filterwarnings('ignore')
def test_log_prob_and_its_gradients_equal_acmes():
  def acme_log_prob(loc, scale, action):
    distribution = tfp.distributions.Independent(
        distributional.TanhTransformedDistribution(
            tfp.distributions.Normal(loc=loc[:, None], scale=scale[:, None])),
        reinterpreted_batch_ndims=1)
    return distribution.log_prob(action[:, None])

  def value_and_gradients(log_prob):
    def total(*args):
      values = log_prob(*args)
      return jnp.sum(values), values
    gradients, values = jax.jit(jax.grad(
        total, argnums=(0, 1, 2), has_aux=True))(_LOC, _SCALE, _ACTION)
    return values, *gradients

  for ours, acmes in zip(
      value_and_gradients(_log_prob), value_and_gradients(acme_log_prob)):
    assert np.all(np.isfinite(ours))
    np.testing.assert_allclose(ours, acmes, rtol=1e-4, atol=1e-4)


def test_log_prob_sums_over_actions():
  rng = np.random.default_rng(0)
  loc, action = rng.normal(size=(2, 4, 3)).astype(np.float32)
  action = np.tanh(action)
  scale = np.float32([[.4, 1., 2.]])
  joint = _joint_log_prob(loc, np.repeat(scale, 4, axis=0), action)
  single = [_log_prob(loc[:, i], np.repeat(scale[:, i], 4), action[:, i])
            for i in range(3)]
  np.testing.assert_allclose(joint, np.sum(single, axis=0), rtol=1e-5)


def test_samples_are_reparameterised():
  rng = np.random.default_rng(1)
  loc, noise = rng.normal(size=(2, 5, 2)).astype(np.float32)
  scale = np.exp(rng.normal(size=(5, 2))).astype(np.float32)
  expected = np.tanh(loc + scale * noise)
  sample = lambda loc, scale: tanh_normal.sample(
      tanh_normal.TanhNormal(loc, scale), noise)
  np.testing.assert_allclose(sample(loc, scale), expected, rtol=1e-5)
  loc_grad, scale_grad = jax.grad(
      lambda *args: jnp.sum(sample(*args)), argnums=(0, 1))(loc, scale)
  np.testing.assert_allclose(loc_grad, 1 - expected ** 2, atol=1e-5)
  np.testing.assert_allclose(
      scale_grad, noise * (1 - expected ** 2), atol=1e-5)
  np.testing.assert_allclose(
      tanh_normal.mode(tanh_normal.TanhNormal(loc, scale)), np.tanh(loc),
      rtol=1e-5)


@pytest.mark.parametrize('action', [-1., 1.])
def test_gradient_is_exact_far_from_the_location(action):
  """Actions thousands of deviations away, as early in behaviour cloning."""
  loc = np.float32([-action * x for x in (0., 3., 20., 60.)])
  scale, actions = np.full((2, 4), [[.001], [action]], np.float32)
  gradient = jax.jit(jax.grad(
      lambda loc: jnp.sum(_log_prob(loc, scale, actions))))(loc)
  deviations = (np.arctanh(.999) + np.abs(loc.astype(np.float64))) / .001
  # The slope of a normal's tail is the number of deviations.
  np.testing.assert_allclose(gradient, action * deviations / .001, rtol=1e-4)
