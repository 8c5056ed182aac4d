"""Tests of batch ensembles."""

from acme_msg import networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_N, _O, _A, _B = 3, 3, 2, 6


def _make(num_members=_N, hidden_sizes=(7, 5)):
  return networks.make_critic(
      _O, _A, ensemble_method='batch_ensemble', ensemble_size=num_members,
      hidden_sizes=hidden_sizes)


def _inputs(*leading):
  rng = np.random.default_rng(0)
  return (rng.normal(size=leading + (_O,)).astype(np.float32),
          rng.normal(size=leading + (_A,)).astype(np.float32))


@pytest.mark.parametrize('per_member', [False, True])
def test_layers_are_dense_with_modulated_weights(
    per_member, relu_mlp, randomize):
  critic = _make()
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  inputs = _inputs(_N, _B) if per_member else _inputs(_B)
  q = jax.jit(critic.apply)(params, *inputs).q
  assert q.shape == (_N, _B, 1)
  for i in range(_N):
    layers = []
    for name in ('linear_0', 'linear_1', 'q'):
      layer = params[0][name]
      rank_one = np.outer(layer['alpha'][i], layer['gamma'][i])
      layers.append((layer['w'] * rank_one, layer['b'][i]))
    x = np.concatenate(
        [x[i] if per_member else x for x in inputs], axis=-1)
    np.testing.assert_allclose(q[i], relu_mlp(layers, x), atol=1e-5)


def test_members_begin_as_random_signs_of_shared_matrices():
  critic = _make(num_members=500, hidden_sizes=(4,))
  params, = jax.jit(critic.init)(jax.random.PRNGKey(0))
  member_leaves, = critic.member_leaves((params,), 1)
  for layer, is_member in ((params[n], member_leaves[n]) for n in params):
    assert is_member == dict(w=False, alpha=True, gamma=True, b=True)
    assert layer['w'].shape == (
        layer['alpha'].shape[-1], layer['gamma'].shape[-1])
    assert not np.any(layer['b']) and layer['b'].shape[0] == 500
    for name in ('alpha', 'gamma'):
      signs = np.asarray(layer[name])
      assert set(np.unique(signs)) == {-1., 1.}
      np.testing.assert_allclose(signs.mean(axis=(0, 1)), 0., atol=.2)


def test_the_shared_gradient_is_the_sum_of_members(randomize):
  """One linear layer has a closed form, `q = gamma (alpha * x) w + b`."""
  critic = _make(hidden_sizes=())
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  inputs = _inputs(_B)
  weights = np.random.default_rng(2).normal(
      size=(_N, _B, 1)).astype(np.float32)
  gradient, = jax.grad(lambda p: jnp.sum(
      weights * critic.apply(p, *inputs).q))(params)
  layer, x = params[0]['q'], np.concatenate(inputs, axis=-1)
  expected = sum(
      (x * layer['alpha'][i]).T @ (weights[i] * layer['gamma'][i])
      for i in range(_N))
  np.testing.assert_allclose(gradient['q']['w'], expected, rtol=1e-4)
  for i in range(_N):
    np.testing.assert_allclose(
        gradient['q']['b'][i], weights[i].sum(keepdims=True).reshape(1, 1),
        rtol=1e-4)


def test_members_with_the_same_vectors_are_one_member(randomize):
  critic, single = _make(), _make(num_members=1)
  one = randomize(jax.jit(single.init)(jax.random.PRNGKey(0)))
  is_member = single.member_leaves(one, 1)
  same = jax.tree.map(
      lambda x, member: np.repeat(x, _N, axis=0) if member else x,
      one, is_member)
  inputs = _inputs(_B)
  def values_and_gradient(critic):
    def loss(params):
      q = critic.apply(params, *inputs).q
      return jnp.sum(jnp.square(q)), q
    return jax.jit(jax.value_and_grad(loss, has_aux=True))
  (_, q), gradient = values_and_gradient(critic)(same)
  (_, q_one), gradient_one = values_and_gradient(single)(one)
  for i in range(_N):
    np.testing.assert_allclose(q[i], q_one[0], rtol=1e-5)
  jax.tree.map(
      lambda g, g_one, member: np.testing.assert_allclose(
          g, np.repeat(g_one, _N, axis=0) if member else _N * g_one,
          rtol=1e-4, atol=1e-5),
      gradient, gradient_one, is_member)


@pytest.mark.parametrize(
    'batch_split, rows', [(True, 'split'), (False, 'same')])
def test_batch_split_chooses_the_members_rows(batch_split, rows):
  critic = networks.make_critic(
      _O, _A, ensemble_method='batch_ensemble', batch_split=batch_split)
  assert critic.member_batches == rows
