"""The example variant of `networks/README.md` trains as it is printed there.

A process with four forced CPU devices runs this file as a program; the tests
check its results.
"""

import dataclasses
import os
import pathlib
import pickle
import re
import subprocess
import sys

from acme.utils import loggers
import acme_msg
from acme_msg import datasets
from acme_msg.agents import msg
from acme_msg.agents.msg import learning
from acme_msg.datasets import pointmaze_generator
from acme_msg.launch import local
import jax
import numpy as np
import pytest

_README = pathlib.Path(acme_msg.__file__).parent / 'networks' / 'README.md'
_TASK = 'pointmaze-umaze-diverse'
# Large learning rates show errors after few steps.
_CONFIG = msg.MSGConfig(
    ensemble_size=12, beta=-2., q_lr=1e-3, policy_lr=1e-3, batch_size=16,
    num_sgd_steps_per_step=2, num_bc_iters=2, actor_network_hidden_sizes=(6,),
    critic_network_hidden_sizes=(8, 8), behavior_regularization_type='v1')
_NUM_STEPS = 3


def _blocks():
  return re.findall(r'^```python\n(.*?)^```$', _README.read_text(), re.M | re.S)


def _learn(readme, run, dataset, num_devices):
  """Trains on `num_devices` devices; returns the first and the last state."""
  learner = learning.MSGLearner(
      readme['make_networks'](run.environment_spec(), _CONFIG), _CONFIG,
      jax.random.PRNGKey(0), dataset, logger=loggers.NoOpLogger(),
      devices=jax.local_devices()[:num_devices])
  first = learner.save()
  for _ in range(_NUM_STEPS):
    learner.step()
  return first, learner.save()


def _main(folder):
  assert len(jax.local_devices()) == 4
  readme = {'__name__': 'readme'}
  for block in _blocks():
    exec(compile(block, str(_README), 'exec'), readme)
  path = pointmaze_generator.ensure(_TASK, num_transitions=500)
  dataset = datasets.load(datasets.find(path), _TASK)
  run = dataclasses.replace(
      readme['make_experiment'](
          _CONFIG, os.path.join(folder, 'run'), _NUM_STEPS),
      dataset_factory=lambda: dataset, episodes_per_eval=1,
      eval_every_steps=_NUM_STEPS)
  states = {num: _learn(readme, run, dataset, num) for num in (1, 4)}
  local.run_local(run)
  with open(os.path.join(folder, 'states.pickle'), 'wb') as f:
    pickle.dump(states, f)


@pytest.fixture(name='folder', scope='module')
def _folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('own_variant')
  done = subprocess.run(
      [sys.executable, __file__, str(folder)],
      env={**os.environ,
           'ACME_MSG_DATA_DIR': str(folder / 'data'),
           'XLA_FLAGS': '--xla_force_host_platform_device_count=4 '
                        '--xla_cpu_parallel_codegen_split_count=1',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
           'JAX_PLATFORMS': 'cpu'},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
  assert done.returncode == 0, done.stdout[-5000:]
  return folder


@pytest.fixture(name='states', scope='module')
def _states(folder):
  return pickle.loads((folder / 'states.pickle').read_bytes())


def test_it_is_well_under_100_lines():
  lines = '\n'.join(_blocks()).splitlines()
  assert 0 < len([line for line in lines if line.strip()]) < 90


def test_every_parameter_learns_and_members_differ(states):
  first, last = states[1]
  for before, after in ((first.critic_params, last.critic_params),
                        (first.policy_params, last.policy_params)):
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after)):
      assert np.any(x != y)
  for module, arrays in last.critic_params.items():
    for x in arrays.values():
      assert (x.shape[0] == _CONFIG.ensemble_size) == (
          not module.startswith('shared'))
      if not module.startswith('shared'):
        assert np.ptp(x, axis=0).max() > 0


def test_four_devices_give_what_one_gives(states):
  # Sums over devices are rounded in another order. Adam's steps are 1e-3, a
  # thousand times the tolerance.
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
      states[1], states[4])


def test_it_runs_as_an_experiment(folder):
  with np.load(folder / 'run' / 'evaluations.npz') as found:
    assert found['returns'].shape == (1, 1)
    assert found['steps'] == _NUM_STEPS * _CONFIG.num_sgd_steps_per_step


if __name__ == '__main__':
  _main(sys.argv[1])
