"""What the tests of networks share."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Halves the time of compiling, which is most of what these tests take."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


def _relu_mlp(layers, x):
  """Layers `(w [I, O], b [O])` with ReLU after all but the last, in float64."""
  x = np.asarray(x, np.float64)
  for i, (w, b) in enumerate(layers):
    x = x @ np.asarray(w, np.float64) + np.asarray(b, np.float64)
    if i < len(layers) - 1:
      x = np.maximum(x, 0.)
  return x


def _randomize(params, seed=0):
  """Moves every array, so that biases are not zero and signs not +-1."""
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
