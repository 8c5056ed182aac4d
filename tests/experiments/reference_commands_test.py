"""Runs the command lines of the reference implementation's documentation.

Flags and bindings are the same as there; what the commands share is written
once. The tests add flags that reduce the sizes; the last flag of a name counts.
The data has the layout of AntMaze but is random; the environment is D4RL's own.
"""

import json
import shlex

import pytest

pytestmark = pytest.mark.usefixtures('compile_quickly')

_FLAGS = '''
--pdb_post_mortem
--debug_nans=False
--create_saved_model_actor=False
--num_steps 11000
--eval_every_steps 500
--episodes_per_eval 100
--batch_size 51200
--root_dir '{root_dir}'
--seed 42
--algorithm '{algorithm}'
--task_class 'd4rl'
--task_name 'antmaze-large-diverse-v0'
'''

# Each line X stands for --gin_bindings='msg.config.MSGConfig.X'.
_MSG_BINDINGS = '''
num_sgd_steps_per_step=200
ensemble_size=64
ensemble_method="{ensemble_method}"
td_target_method="independent"
beta=-8
behavior_regularization_alpha=0.1
behavior_regularization_type="v1"
num_cql_actions=1
use_random_weighting_in_critic_loss=True
num_bc_iters=50000
num_q_repr_pretrain_iters=0
pretrain_temp=1
use_sass=False
q_lr=3e-4
policy_lr=3e-5
use_ema_target_critic_params=True
use_entropy_regularization=True
actor_network_hidden_sizes=(256, 256, 256)
critic_network_hidden_sizes=(256, 256, 256)
use_double_q=False
networks_init_type="glorot_also_dist"
critic_random_init=False
perform_sarsa_q_eval=False
eval_with_q_filter=False
num_eval_samples=32
mimo_using_adamw=False
mimo_using_obs_tile={obs_tile}
mimo_using_act_tile={act_tile}
'''

# --gin_bindings='batch_ensemble_msg.config.BatchEnsembleMSGConfig.X'.
_BATCH_ENSEMBLE_BINDINGS = '''
num_sgd_steps_per_step=200
ensemble_size=64
beta=-8
behavior_regularization_alpha=0.1
behavior_regularization_type="v1"
actor_hidden_sizes=(256, 256, 256)
q_hidden_sizes=(256, 256, 256)
use_double_q=False
'''

_CONFIGS = {
    'msg': 'msg.config.MSGConfig',
    'batch_ensemble_msg': 'batch_ensemble_msg.config.BatchEnsembleMSGConfig',
}

# The documentation's form "for easier local debugging".
_DEBUGGING_FLAGS = '''
--num_sgd_steps_per_step 1
--batch_size 64
--num_steps 1000
--episodes_per_eval 10
'''
_DEBUGGING_BINDINGS = 'num_sgd_steps_per_step=1'

# What is reduced. The first learner step clones behaviour, the second is MSG's.
_SMALL_FLAGS = '--num_steps=2 --eval_every_steps=1 --episodes_per_eval=1'
_SMALL_BINDINGS = {
    'msg': '''
ensemble_size=4
actor_network_hidden_sizes=(16, 16, 16)
critic_network_hidden_sizes=(16, 16, 16)
tree_branching=2
tree_depth=2
tree_width=16
''',
    'batch_ensemble_msg': '''
ensemble_size=4
actor_hidden_sizes=(16, 16, 16)
q_hidden_sizes=(16, 16, 16)
''',
}


def _arguments(algorithm, flags, bindings):
  """Returns what a shell makes of flags and bindings."""
  return [*shlex.split(flags),
          *(f'--gin_bindings={_CONFIGS[algorithm]}.{line}'
            for line in bindings.strip().splitlines())]


def _msg(root_dir, ensemble_method, obs_tile=False, act_tile=False):
  return _arguments(
      'msg', _FLAGS.format(root_dir=root_dir, algorithm='msg'),
      _MSG_BINDINGS.format(ensemble_method=ensemble_method, obs_tile=obs_tile,
                           act_tile=act_tile))


COMMANDS = {
    'deep': _msg('/tmp/test_msg_deep_ensembles', 'deep_ensembles'),
    'mimo': _msg('/tmp/test_msg_mimo', 'mimo', True, True),
    'multi_head': _msg('/tmp/test_msg_multihead', 'mimo'),
    'tree': _msg('/tmp/test_msg_tree_deep_ensembles', 'tree_deep_ensembles'),
    'batch_ensemble': _arguments(
        'batch_ensemble_msg', _FLAGS.format(
            root_dir='/tmp/test_msg_deep_ensembles',
            algorithm='batch_ensemble_msg'),
        _BATCH_ENSEMBLE_BINDINGS),
}


def _algorithm(variant):
  return 'batch_ensemble_msg' if variant == 'batch_ensemble' else 'msg'


def _reductions(variant, root_dir, flags, bindings):
  """Returns what makes a command line a small run in `root_dir`."""
  algorithm = _algorithm(variant)
  return _arguments(
      algorithm, f'{_SMALL_FLAGS} --root_dir={root_dir} {flags}',
      _SMALL_BINDINGS[algorithm] + bindings)


def _record(root_dir):
  return json.loads((root_dir / 'config.json').read_text())


# One command runs as a program, the others in this process, which is faster.
@pytest.mark.parametrize('variant', list(COMMANDS))
def test_command_lines_of_the_reference(
    run, run_here, check_run, tmp_path, needs_d4rl, antmaze_large_dir, variant):
  root_dir = tmp_path / variant
  is_program = variant == 'deep'
  result = (run if is_program else run_here)(
      *COMMANDS[variant], *_reductions(
          variant, root_dir, f'--batch_size=1600 --run_local={not is_program}',
          'num_bc_iters=200'),
      D4RL_DATASET_DIR=antmaze_large_dir)
  assert result.code == 0, result.stderr
  check_run(root_dir, steps=[200, 400], episodes=1)
  assert not (root_dir / 'saved_model').exists()
  assert f'all results are in {root_dir}' in result.stdout
  record = _record(root_dir)
  assert (record['seed'], record['num_sgd_steps_per_step']) == (42, 200)
  agent = record['config']['agent']
  # The batch holds the rows of all 200 gradient steps.
  assert (agent['batch_size'], agent['num_bc_iters']) == (8, 200)
  assert (agent['beta'], agent['policy_lr']) == (-8, 3e-5)
  assert agent['ensemble_method'] == {
      'deep': 'deep_ensembles', 'multi_head': 'mimo',
      'tree': 'tree_deep_ensembles'}.get(variant, variant)


@pytest.mark.parametrize('variant', ['deep', 'batch_ensemble'])
def test_form_for_debugging(
    run_here, check_run, tmp_path, needs_d4rl, antmaze_large_dir, variant):
  root_dir = tmp_path / variant
  algorithm = _algorithm(variant)
  debugging = _arguments(algorithm, _DEBUGGING_FLAGS, _DEBUGGING_BINDINGS)
  # No NaN comes up in a normal run, not even in an unused value.
  result = run_here(
      *COMMANDS[variant], *debugging, *_reductions(
          variant, root_dir, '--debug_nans=True '
          '--create_saved_model_actor=True --run_local', 'num_bc_iters=1'),
      D4RL_DATASET_DIR=antmaze_large_dir)
  assert result.code == 0, result.stderr
  check_run(root_dir, steps=[1, 2], episodes=1)
  assert _record(root_dir)['config']['agent']['batch_size'] == 64


def test_missing_data_is_named_before_anything_is_done(run, tmp_path):
  result = run(*COMMANDS['deep'], f'--root_dir={tmp_path}/run',
               D4RL_DATASET_DIR=str(tmp_path))
  assert result.code == 1
  assert 'Traceback' not in result.stderr
  for words in ('error: the dataset of antmaze-large-diverse-v0 is missing',
                'Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True',
                str(tmp_path), '--dataset'):
    assert words in result.stderr
  assert not (tmp_path / 'run').exists()
