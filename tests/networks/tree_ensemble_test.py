"""Tests of tree ensembles."""

import functools

from acme_msg import networks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_O, _A, _B, _WIDTH = 3, 2, 5, 4


@functools.cache
def _make(branching, depth, width=_WIDTH, **options):
  return networks.make_critic(
      _O, _A, ensemble_method='tree_deep_ensembles', tree_width=width,
      ensemble_size=branching ** depth, tree_branching=branching,
      tree_depth=depth, **options)


def _inputs():
  rng = np.random.default_rng(0)
  return (rng.normal(size=(_B, _O)).astype(np.float32),
          rng.normal(size=(_B, _A)).astype(np.float32))


def _walk(params, branching, depth, x):
  """Evaluates each leaf from the root: values `[N, B]`, features `[B, F]`."""
  values, features = [], []

  def descend(level, node, hidden):
    if level == depth:
      features.append(hidden)
      values.append(hidden @ params['leaves']['w'][node][:, 0]
                    + params['leaves']['b'][node, 0, 0])
      return
    layer = params['levels'][level]
    for child in range(node * branching, (node + 1) * branching):
      descend(level + 1, child, np.maximum(
          hidden @ layer['w'][child] + layer['b'][child, 0], 0.))

  descend(0, 0, np.asarray(x, np.float64))
  return np.stack(values), np.concatenate(features, axis=-1)


@pytest.mark.parametrize('branching, depth, use_double_q', [
    (2, 3, False), (3, 2, True), (4, 1, False), (1, 2, False)])
def test_members_are_paths_from_the_root(
    branching, depth, use_double_q, randomize):
  critic = _make(branching, depth, use_double_q=use_double_q)
  params = randomize(_initial(critic))
  output = jax.jit(critic.apply)(params, *_inputs())
  x = np.concatenate(_inputs(), axis=-1)
  paths = [_walk(head, branching, depth, x) for head in params]
  np.testing.assert_allclose(
      output.q, np.stack([values for values, _ in paths], -1), atol=1e-5)
  np.testing.assert_allclose(
      output.features,
      np.concatenate([features for _, features in paths], -1)[None], atol=1e-5)
  assert critic.representation == 'joint'


def test_siblings_are_drawn_as_one_wide_layer():
  critic = _make(4, 2, width=60)
  params, = jax.jit(critic.init)(jax.random.PRNGKey(0))
  for i, inputs in enumerate((_O + _A, 60)):
    w = np.asarray(params['levels'][i]['w'])
    assert w.shape == (4 ** (i + 1), inputs, 60)
    np.testing.assert_allclose(w.var(), 2 / (inputs + 4 * 60), rtol=.1)
    assert not np.any(params['levels'][i]['b'])
  leaves = params['leaves']['w']
  np.testing.assert_allclose(np.var(leaves), 2 / (60 + 1), rtol=.15)
  assert len(np.unique(w)) > .99 * w.size


@functools.cache
def _initial(critic):
  return jax.jit(critic.init)(jax.random.PRNGKey(0))


@functools.cache
def _gradient(critic):
  """Compiled `(params, first member, weights) -> (gradient, output)`."""
  def loss(params, first, weights):
    output = critic.apply(params, *_inputs(), first)
    return jnp.sum(output.q * weights), output
  return jax.jit(jax.grad(loss, has_aux=True))


@pytest.mark.parametrize('branching, depth, num_devices', [
    (2, 3, 2), (2, 3, 4), (2, 3, 8), (4, 1, 2), (4, 2, 2), (6, 2, 4)])
def test_shards_together_are_the_whole(
    branching, depth, num_devices, randomize):
  """Values, features and the sum of the shards' gradients."""
  critic = _make(branching, depth)
  num_members = branching ** depth
  params, run = randomize(_initial(critic)), _gradient(critic)
  weights = np.random.default_rng(1).normal(
      size=(num_members, _B, 1)).astype(np.float32)
  gradient, whole = run(params, 0, weights)
  is_split = critic.member_leaves(params, num_devices)
  assert is_split[0]['leaves']['w']
  def part(x, device):
    size = x.shape[0] // num_devices
    return x[device * size:(device + 1) * size]

  gradients, outputs = zip(*(
      run(jax.tree.map(
          lambda x, split: part(x, device) if split else x, params, is_split),
          device * (num_members // num_devices), part(weights, device))
      for device in range(num_devices)))
  np.testing.assert_allclose(
      np.concatenate([output.q for output in outputs]), whole.q, rtol=1e-5)
  np.testing.assert_allclose(
      np.concatenate([output.features for output in outputs], axis=-1),
      whole.features, rtol=1e-5)
  jax.tree.map(
      lambda whole, split, *parts: np.testing.assert_allclose(
          np.concatenate(parts) if split else sum(parts), whole, rtol=1e-4,
          atol=1e-5),
      gradient, is_split, *gradients)
