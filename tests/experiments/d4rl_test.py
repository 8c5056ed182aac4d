"""Trains and evaluates in a real D4RL environment by the command line."""

import pathlib
import runpy

import numpy as np
import pytest


@pytest.mark.usefixtures('compile_quickly')
def test_antmaze(run_here, check_run, needs_d4rl, tmp_path):
  # The data is collected in the real environment with RANDOM actions: the test
  # shows that the parts fit together, not that the agent learns.
  path = tmp_path / 'random.hdf5'
  collector = pathlib.Path(__file__).parents[1] / 'environments'
  runpy.run_path(str(collector / 'random_antmaze.py'))['collect'](
      str(path), episodes=2)
  root_dir = tmp_path / 'run'
  result = run_here(
      '--task_class=d4rl', '--task_name=antmaze-umaze-v2',
      f'--dataset={path}', f'--root_dir={root_dir}', '--run_local',
      '--gin_configs=antmaze.gin', '--num_steps=4', '--eval_every_steps=2',
      '--episodes_per_eval=2', *(
          f'--gin_bindings=msg.config.MSGConfig.{option}' for option in (
              'num_sgd_steps_per_step=10', 'batch_size=16', 'ensemble_size=4',
              'num_bc_iters=20', 'actor_network_hidden_sizes=(32, 32)',
              'critic_network_hidden_sizes=(32, 32)')))
  assert result.code == 0, result.stderr
  check_run(root_dir, steps=[20, 40], episodes=2)
  with np.load(root_dir / 'evaluations.npz') as found:
    # An episode ends with reward 1 at the goal, or else at the step limit.
    assert set(found['returns'].flat) <= {0., 1.}
    np.testing.assert_array_equal(found['scores'], 100 * found['returns'])
    np.testing.assert_array_equal(
        found['lengths'] == 700, found['returns'] == 0)
