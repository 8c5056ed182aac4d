"""Lets the tests of builders import `plane`, and compile in less time."""

import os
import sys

import jax
import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module', autouse=True)
def compile_quickly():
  """Halves the time to compile; the tests of agents run optimised programs."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
