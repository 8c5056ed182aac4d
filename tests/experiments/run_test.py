"""Tests the command line: in one process, and killed, resumed and finished."""

import shutil

from acme_msg.experiments import gin_options
from acme_msg.experiments import settings
from acme_msg.experiments import tasks
from acme_msg.launch import checkpointing
import jax
import numpy as np
import pytest
import tensorflow as tf

# Results are compared bit by bit: all runs have the same compiler options.
pytestmark = pytest.mark.usefixtures('compile_quickly')

_S, _STEPS, _EVERY = 5, 16, 2
_EVALUATED = list(range(_S * _EVERY, _S * _STEPS + 1, _S * _EVERY))
_BINDINGS = [f'msg.config.MSGConfig.{option}' for option in (
    f'num_sgd_steps_per_step={_S}', 'ensemble_size=2', 'num_bc_iters=7',
    'actor_network_hidden_sizes=(16,)', 'critic_network_hidden_sizes=(16,)',
    # The actor needs the policy and the critics.
    'eval_with_q_filter=True', 'num_eval_samples=4')]
_SETTINGS = {
    'algorithm': 'msg', 'task_class': 'pointmaze',
    'task_name': 'pointmaze-umaze-diverse', 'seed': 7, 'num_steps': _STEPS,
    'eval_every_steps': _EVERY, 'episodes_per_eval': 2, 'batch_size': 40}


def _arguments(root_dir, dataset_path, *bindings):
  return [f'--root_dir={root_dir}', f'--dataset={dataset_path}',
          *(f'--{name}={value}' for name, value in _SETTINGS.items()),
          *(f'--gin_bindings={binding}' for binding in [*_BINDINGS, *bindings])]


@pytest.fixture(name='reference', scope='module')
def _reference(run_here, check_run, pointmaze_file, tmp_path_factory):
  """Directory of a run in one process that was never stopped."""
  root_dir = tmp_path_factory.mktemp('reference') / 'run'
  result = run_here(*_arguments(root_dir, pointmaze_file), '--run_local',
                    '--create_saved_model_actor')
  assert result.code == 0, result.stderr
  check_run(root_dir, _EVALUATED, episodes=2)
  assert (root_dir / 'maze.png').stat().st_size
  return root_dir


def test_killed_program_resumes_to_the_same_end(
    run, check_run, reference, pointmaze_file, tmp_path):
  root_dir = tmp_path / 'run'
  arguments = _arguments(root_dir, pointmaze_file)
  result = run(*arguments, kill_when=lambda *_: checkpointing.latest_step(
      str(root_dir)))
  assert result.code == -9, result.stderr
  killed_at = checkpointing.latest_step(str(root_dir))
  assert killed_at < _EVALUATED[-1]

  result = run(*arguments)
  assert result.code == 0, result.stderr
  assert f'Resumed at gradient step {killed_at}' in result.stdout
  assert f'Finished at gradient step {_EVALUATED[-1]};' in result.stdout
  check_run(root_dir, _EVALUATED, episodes=2)
  with np.load(root_dir / 'evaluations.npz') as found:
    with np.load(reference / 'evaluations.npz') as wanted:
      assert set(found) == set(wanted)
      for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_finished_run_says_so_though_a_picture_fails(
    run, reference, pointmaze_file, tmp_path):
  root_dir = tmp_path / 'run'
  shutil.copytree(reference, root_dir)
  curve = root_dir / 'learning_curve.png'
  curve.unlink()
  curve.mkdir()  # No file can be written there.
  before = (root_dir / 'evaluations.npz').stat().st_mtime_ns
  result = run(*_arguments(root_dir, pointmaze_file))
  assert result.code == 0, result.stderr
  assert f'The run in {root_dir} is finished already' in result.stdout
  assert f'Picture: {root_dir}/maze.png' in result.stdout
  assert 'Final score: ' in result.stdout
  assert (root_dir / 'evaluations.npz').stat().st_mtime_ns == before
  assert f'warning: {curve} was not drawn: IsADirectoryError' in result.stderr
  assert 'Traceback' not in result.stderr


def test_saved_model_acts_as_the_final_policy(reference, pointmaze_file):
  experiment, networks, params = _saved(reference, pointmaze_file)
  spec, key = experiment.environment_spec(), jax.random.PRNGKey(5)
  policy = experiment.builder.make_policy(networks, spec, True)
  model = tf.saved_model.load(
      str(reference / 'saved_model' / str(_EVALUATED[-1])))
  for observation in np.random.RandomState(0).randn(5, 4).astype(np.float32):
    [action] = policy(
        [params['policy_params'], params['critic_params']], key,
        observation[None])
    np.testing.assert_allclose(
        model.act(observation, 5), action, atol=1e-5)


def _saved(root_dir, dataset_path):
  """Returns the policy and critics of a run's last checkpoint, and networks."""
  gin_options.parse([], _BINDINGS)
  experiment = settings.make_experiment(
      settings.AgentConfig(batch_size=_SETTINGS['batch_size']),
      tasks.TaskConfig(dataset=dataset_path), settings.Budget(_STEPS),
      root_dir=str(root_dir))
  networks = experiment.network_factory(experiment.environment_spec())
  key = jax.random.PRNGKey(5)
  return experiment, networks, checkpointing.restore_variables(str(root_dir), {
      'policy_params': jax.eval_shape(networks.policy.init, key),
      'critic_params': jax.eval_shape(networks.critic.init, key)})


def test_divergence_ends_the_program_and_keeps_its_checkpoints(
    run, run_here, pointmaze_file, tmp_path):
  root_dir = tmp_path / 'run'
  # The temperature adapts from step 33, and is infinite in step 34.
  arguments = _arguments(root_dir, pointmaze_file, *(
      f'msg.config.MSGConfig.{option}' for option in (
          'num_bc_iters=32', 'alpha_lr=1e6', 'target_entropy=1e3')))
  error = 'Training diverged in gradient step 34: actor_loss is NaN, infinite'

  result = run(*arguments)
  assert result.code == 1
  last_line = result.stderr.splitlines()[-1]
  assert last_line.startswith(f'error: the node learner/0 failed: {error}')
  assert 'a lower q_lr (now 0.0003)' in last_line
  assert 'Traceback' not in result.stderr + result.stdout
  assert checkpointing.latest_step(str(root_dir)) == 30
  *_, saved = _saved(root_dir, pointmaze_file)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(saved))

  result = run_here(*arguments, '--run_local')  # It diverges again.
  assert result.code == 1 and 'Resumed at gradient step 30' in result.stdout
  assert result.stderr.splitlines()[-1].startswith(f'error: {error}')
  assert checkpointing.latest_step(str(root_dir)) == 30


def test_divergence_before_the_first_checkpoint(
    run_here, pointmaze_file, tmp_path):
  root_dir = tmp_path / 'run'
  arguments = _arguments(
      root_dir, pointmaze_file, 'msg.config.MSGConfig.q_lr=1e6')
  result = run_here(*arguments, '--run_local')
  assert result.code == 1 and result.stderr.splitlines()[-1].startswith(
      'error: Training diverged in gradient step 2: critic_loss of all 2 '
      'members is NaN, infinite or beyond 1e+18. ')
  assert checkpointing.latest_step(str(root_dir)) is None
  # JAX stops at a NaN on request, with a traceback.
  with pytest.raises(FloatingPointError, match='nan'):
    run_here(*arguments, '--gin_bindings=msg.config.MSGConfig.q_lr=1e38',
             '--run_local', '--debug_nans', f'--root_dir={tmp_path / "other"}')
