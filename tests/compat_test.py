"""Tests that Acme 0.4.0 works with this JAX after `import acme_msg`."""

import os
import subprocess
import sys

import acme_msg  # noqa: F401  Restores the names.
import jax
import jax.numpy as jnp


def _run(code: str) -> None:
  """Runs code in a new interpreter; fails with its stderr."""
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, cwd='/',
      env={**os.environ, 'JAX_PLATFORMS': 'cpu',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'})
  assert done.returncode == 0, done.stderr


def test_acme_imports_after_acme_msg_and_its_sac_learner_takes_a_step():
  _run('''
import acme_msg
from acme.agents.jax import sac, td3
from acme.jax import networks, savers, variable_utils
from acme.jax.layouts import distributed_layout, local_layout
from acme.jax.layouts import offline_distributed_layout
assert sac.SACBuilder and td3.TD3Builder and savers.save_to_path

import itertools
from acme import specs, types
from acme.utils import loggers
import jax, numpy as np, optax, reverb
box = specs.BoundedArray((2,), np.float32, -1.0, 1.0)
spec = specs.EnvironmentSpec(
    observations=box, actions=box, rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0))
rows = np.ones((4, 2), np.float32)
batch = types.Transition(rows, rows / 2, rows[:, 0], rows[:, 0], rows)
info = reverb.SampleInfo(*([np.zeros(4)] * len(reverb.SampleInfo._fields)))
sample = reverb.ReplaySample(info, batch)
learner = sac.SACLearner(
    sac.make_networks(spec, (8,)), jax.random.PRNGKey(0),
    itertools.repeat(sample), optax.adam(1e-3), optax.adam(1e-3),
    logger=loggers.NoOpLogger())
before = jax.device_get(learner.get_variables(['policy'])[0])
learner.step()
after = jax.device_get(learner.get_variables(['policy'])[0])
moved = jax.tree_util.tree_map(lambda a, b: np.any(a != b), before, after)
assert any(jax.tree_util.tree_leaves(moved))
''')


def test_only_missing_names_are_set():
  _run('''
import jax
import jax.numpy as jnp
jax.tree_map = kept = object()  # As a JAX that still has the name.
before = {module: dict(vars(module)) for module in (jax, jnp)}
from acme_msg import compat
for module, names in before.items():
  changed = {
      name for name, value in names.items()
      if vars(module)[name] is not value}
  assert not changed, changed
  new = set(vars(module)) - set(names)
  assert new <= set(compat.RESTORED[module]), new
assert jax.tree_map is kept
''')


def test_restored_names_work_on_trees_and_arrays():
  tree = {'a': 1, 'b': (2, 3)}
  assert jax.tree_map(lambda x: x + 1, tree) == {'a': 2, 'b': (3, 4)}
  assert jax.tree_multimap(lambda x, y: x * y, tree, tree) == {
      'a': 1, 'b': (4, 9)}
  assert jax.tree_flatten(tree)[0] == [1, 2, 3]
  array, device = jnp.zeros(3), jax.devices()[0]
  assert isinstance(array, jnp.DeviceArray)
  assert isinstance(array, jax.xla.DeviceArray)
  assert isinstance(array, jax.pxla.ShardedDeviceArray)
  assert isinstance(device, jax.xla.Device)
