"""Fixtures of the tests of agents."""

import os
import sys

import jax
import pytest

# Lets tests import the modules in their folders.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [_HERE, os.path.join(_HERE, 'msg')]


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Halves the time of compilation, which is most of these tests' time."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
