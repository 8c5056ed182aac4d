"""Fixtures of the tests of networks."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Halves the time of compilation, which is most of these tests' time."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


def _relu_mlp(layers, x):
  """Applies layers `(w [I, O], b [O])` in float64, with ReLU between them."""
  x = np.asarray(x, np.float64)
  for i, (w, b) in enumerate(layers):
    x = x @ np.asarray(w, np.float64) + np.asarray(b, np.float64)
    if i < len(layers) - 1:
      x = np.maximum(x, 0.)
  return x


def _randomize(params, seed=0):
  """Adds noise to all arrays; initial biases are zero and signs are +-1."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda x: np.asarray(x) + rng.normal(
          0., .3, np.shape(x)).astype(np.float32), params)


@pytest.fixture
def relu_mlp():
  return _relu_mlp


@pytest.fixture
def randomize():
  return _randomize
