"""Tests of the initial weights of networks."""

from acme_msg import networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

# The largest weight in standard deviations. Truncation at two deviations leaves
# a normal .8796 of its deviation.
_LARGEST = {'truncated': 2 / .87962566, 'uniform': np.sqrt(3.)}


def _assert_drawn(weights, variance, distribution):
  weights = np.asarray(weights)
  assert weights.size > 20_000
  np.testing.assert_allclose(weights.mean(), 0., atol=.03 * variance ** .5)
  np.testing.assert_allclose(weights.std(), variance ** .5, rtol=.02)
  largest = np.abs(weights).max() / variance ** .5
  assert .98 < largest / _LARGEST[distribution] <= 1.0001


@pytest.mark.parametrize('init_type, layer, head', [
    # (scale, weight of the inputs in the fan, distribution)
    ('glorot_also_dist', (1., .5, 'truncated'), (1., .5, 'truncated')),
    ('glorot_except_dist', (1., .5, 'truncated'), (1., 1., 'uniform')),
    ('he_normal', (2., 1., 'truncated'), (2., 1., 'truncated'))])
def test_weights_have_the_scale_of_their_fans(init_type, layer, head):
  def variance(rule, inputs, outputs):
    scale, share, _ = rule
    return scale / (share * inputs + (1 - share) * outputs)

  policy = jax.jit(networks.make_policy(
      400, 150, (200,), init_type).init)(jax.random.PRNGKey(0))
  _assert_drawn(policy['policy_trunk/~/linear_0']['w'],
                variance(layer, 400, 200), layer[2])
  for name in ('loc', 'scale'):
    _assert_drawn(policy[name]['w'], variance(head, 200, 150), head[2])

  critic, = jax.jit(networks.make_critic(
      90, 30, hidden_sizes=(200,), ensemble_size=200,
      networks_init_type=init_type, critic_init_scale=1.7,
      ).init)(jax.random.PRNGKey(0))
  _assert_drawn(critic['critic_trunk/~/linear_0']['w'],
                1.7 * variance(layer, 120, 200), layer[2])
  _assert_drawn(critic['q']['w'], 1.7 * variance(layer, 200, 1), layer[2])
  for biases in (policy['loc']['b'], policy['scale']['b'], critic['q']['b']):
    assert not np.any(biases)


def test_unknown_type_is_refused():
  with pytest.raises(ValueError, match="networks_init_type='orthogonal'.*he_n"):
    networks.make_critic(3, 2, networks_init_type='orthogonal')


@pytest.mark.parametrize('init_scale', [1., 4.])
def test_members_draw_their_initialisers(init_scale):
  """Scale from U(0.5, 2), one of three fans, one of three distributions."""
  critic = networks.make_critic(
      50, 10, hidden_sizes=(150, 40), ensemble_size=24, critic_random_init=True,
      critic_init_scale=init_scale)
  params, = jax.jit(critic.init)(jax.random.PRNGKey(3))
  layers = [np.asarray(params[f'critic_trunk/~/linear_{i}']['w'])
            for i in range(2)]
  scales, fans, shapes = [], [], []
  for member in range(24):
    candidates = []
    for fan, share in (('in', 1.), ('out', 0.), ('avg', .5)):
      first, second = (
          w[member].var() * (share * w.shape[1] + (1 - share) * w.shape[2])
          for w in layers)
      candidates.append((abs(first / second - 1.), fan, first))
    mismatch, fan, scale = min(candidates)
    assert mismatch < .1  # Both layers of a member have the same scaling.
    fans.append(fan)
    scales.append(scale / init_scale)
    largest = max(np.abs(w[member]).max() / w[member].std() for w in layers)
    shapes.append(np.searchsorted([1.9, 2.5], largest))
  assert .45 < min(scales) < .8 and 1.6 < max(scales) < 2.1
  assert set(fans) == {'in', 'out', 'avg'}
  assert set(shapes) == {0, 1, 2}


def test_random_initialisers_have_finite_gradients():
  critic = networks.make_critic(
      3, 2, hidden_sizes=(4,), ensemble_size=3, critic_random_init=True)
  params = jax.jit(critic.init)(jax.random.PRNGKey(0))
  gradient = jax.jit(jax.grad(lambda p: jnp.mean(jnp.square(
      critic.apply(p, jnp.ones((2, 3)), jnp.ones((2, 2))).q))))(params)
  for leaf in jax.tree.leaves(gradient):
    assert np.all(np.isfinite(leaf)) and np.any(leaf)
