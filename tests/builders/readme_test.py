"""Tests of the code in `builders/README.md` that Acme 0.4.0 can run."""

import pathlib
import re

from acme import wrappers
from acme.utils import loggers
import acme_msg
import jax
import numpy as np
import plane
import pytest

_README = pathlib.Path(acme_msg.__file__).parent / 'builders' / 'README.md'
_BLOCKS = re.findall(
    r'^```python\n(.*?)^```$', _README.read_text(), re.M | re.S)


@pytest.mark.parametrize('block', _BLOCKS)
def test_examples_are_short_and_import_acme_msg_first(block):
  # Acme 0.4.0 uses JAX names that acme_msg restores.
  assert block.startswith('from acme_msg ')
  assert len(block.splitlines()) < 30


def test_layout_continues_from_an_offline_learner(
    tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))  # The layout's checkpoints.
  block, = (block for block in _BLOCKS if 'LocalLayout' in block)
  dataset = plane.collect(lambda point: -point, 2)
  names = dict(
      dataset=dataset,
      environment=wrappers.SinglePrecisionWrapper(plane.Plane()))
  setup, uses = block.split('adapted =', 1)
  exec(setup, names)  # pylint: disable=exec-used
  learner = names['builder'].make_learner(
      jax.random.PRNGKey(0), names['networks'], dataset,
      lambda *_, **__: loggers.NoOpLogger(), names['spec'])
  names['offline_learner'] = learner
  exec(f'adapted = {uses}', names)  # pylint: disable=exec-used
  jax.tree.map(
      np.testing.assert_array_equal,
      names['agent'].get_variables(['policy', 'critic']),
      learner.get_variables(['policy', 'critic']))
