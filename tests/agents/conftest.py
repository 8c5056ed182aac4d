"""What the tests of agents share."""

import os
import sys

import jax
import pytest

# Lets them import the modules that stand beside them.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [_HERE, os.path.join(_HERE, 'msg')]


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Halves the time of compiling, which is most of what these tests take."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
