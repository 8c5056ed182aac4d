"""Tests what the settings of a run mean, and which are refused."""

import dataclasses
import os
import pathlib
import pickle
import shutil

from acme_msg import launch
from acme_msg.datasets import data_options
from acme_msg.datasets import ogbench
from acme_msg.datasets import pointmaze_generator
from acme_msg.experiments import algorithms
from acme_msg.experiments import gin_options
from acme_msg.experiments import settings
from acme_msg.experiments import tasks
from acme_msg.launch import run_directory
import pytest

_S = 'msg.config.MSGConfig.num_sgd_steps_per_step'


def _make(*bindings, configs=(), agent=settings.AgentConfig(),
          budget=settings.Budget(100, 10, 1), **fields):
  """Makes the experiment of a command line; little of it by default."""
  gin_options.parse(configs, bindings)
  return settings.make_experiment(
      agent, tasks.TaskConfig('pointmaze', 'pointmaze-umaze'), budget,
      **{'root_dir': 'nowhere', **fields})


def test_steps_of_the_flags_are_learner_steps():
  experiment = _make(
      f'{_S}=200', 'msg.config.MSGConfig.num_bc_iters=50000',
      budget=settings.Budget(11000, 500),
      agent=settings.AgentConfig(batch_size=51200))
  assert experiment.gradient_steps(experiment.num_steps) == 2_200_000
  assert len(experiment.evaluated_steps()) == 22
  assert experiment.evaluated_steps()[0] == 100_000
  config = experiment.builder.config
  # --batch_size is S * B; num_bc_iters counts gradient steps.
  assert config.num_sgd_steps_per_step == 200
  assert config.batch_size == 256
  assert config.num_bc_iters == 50_000


def test_flag_and_binding_may_say_the_same():
  experiment = _make(
      f'{_S}=20', 'msg.config.MSGConfig.batch_size=32',
      agent=settings.AgentConfig(
          num_sgd_steps_per_step=20, batch_size=640))
  assert experiment.num_sgd_steps_per_step == 20
  assert experiment.builder.config.batch_size == 32


@pytest.mark.parametrize('bindings, agent, words', [
    ([f'{_S}=3'], dict(batch_size=64),
     '--batch_size=64 must be a multiple of num_sgd_steps_per_step=3'),
    ([f'{_S}=0'], dict(batch_size=64), 'num_sgd_steps_per_step=0'),
    ([], dict(batch_size=-64), '--batch_size=-64 must be'),
    ([f'{_S}=200'], dict(num_sgd_steps_per_step=1),
     '--num_sgd_steps_per_step=1 contradicts the gin binding '
     'num_sgd_steps_per_step=200'),
    ([f'{_S}=2', 'msg.config.MSGConfig.batch_size=64'], dict(batch_size=64),
     r'--batch_size=64 means 32 .* contradicts the gin binding batch_size=64'),
])
def test_contradictions_are_refused(bindings, agent, words):
  with pytest.raises(ValueError, match=words):
    _make(*bindings, agent=settings.AgentConfig(**agent))


@pytest.mark.parametrize('fields, words', [
    (dict(agent=settings.AgentConfig('sac')),
     r"--algorithm='sac' is not .*'msg'"),
    (dict(budget=settings.Budget(100, 30)),
     'eval_every_steps=30 does not divide num_steps=100'),
    (dict(budget=settings.Budget(0)), 'num_steps must be a positive'),
    (dict(budget=settings.Budget(100, 0)), 'eval_every_steps must be'),
    (dict(budget=settings.Budget(None, -1)), 'eval_every_steps must be'),
    (dict(budget=settings.Budget(100, 10, 0)), 'episodes_per_eval must be'),
    (dict(num_evaluators=0), 'num_evaluators must be'),
    (dict(seed=-1), 'seed must be in'),
    (dict(root_dir=''), 'root_dir is empty'),
])
def test_invalid_settings_are_refused(fields, words):
  with pytest.raises(ValueError, match=words):
    _make(**fields)


@pytest.mark.parametrize('given, resolved', [
    ((None, None), (1_000_000, 10_000)),
    ((20_000, None), (20_000, 10_000)),
    ((2_200, None), (2_200, 110)),
    ((34, None), (34, 2)),
    ((7, None), (7, 1)),
    ((1009, None), (1009, 1009)),  # A prime number.
    ((None, 300), (1_000_200, 300)),
    ((None, 3_000_000), (3_000_000, 3_000_000)),
    ((12, 3), (12, 3)),
])
def test_defaults_of_steps_and_evaluations_fit(given, resolved):
  experiment = _make(budget=settings.Budget(*given))
  assert (experiment.num_steps, experiment.eval_every_steps) == resolved


def test_root_dir_names_the_run_by_default():
  assert _make(root_dir=None, seed=4).root_dir == os.path.abspath(
      'runs/pointmaze-umaze-msg-seed4')


def test_records_of_old_runs_match(tmp_path):
  """The file is what version 0.1 wrote for these settings."""
  shutil.copy(pathlib.Path(__file__).with_name('config_of_0.1.json'),
              tmp_path / 'config.json')
  experiment = _make(
      f'{_S}=20', 'msg.config.MSGConfig.batch_size=32',
      data=settings.DataConfig(
          data_options.DataOptions(n_step=3),
          stream=launch.StreamConfig(5000)), root_dir=str(tmp_path))
  run_directory.check(experiment)
  with pytest.raises(ValueError, match='config.data.n_step: the run has 3'):
    run_directory.check(dataclasses.replace(experiment, config={
        **experiment.config, 'data': {}}))


def test_q_filter_asks_for_the_critic():
  assert list(_make(
      'msg.config.MSGConfig.eval_with_q_filter=True').variables) == [
          'policy', 'critic']
  assert list(_make().variables) == ['policy']


@pytest.mark.parametrize('recipe', sorted(os.listdir(
    os.path.join(os.path.dirname(settings.__file__), 'recipes'))))
def test_recipes_make_experiments(recipe, caplog):
  gin_options.parse([recipe], [])
  [algorithm] = [
      name for name in algorithms.OPTIONS if gin_options.bound(name)]
  experiment = _make(configs=[recipe], agent=settings.AgentConfig(algorithm))
  # Nodes unpickle the experiment and make the networks.
  experiment = pickle.loads(pickle.dumps(experiment))
  assert experiment.network_factory(experiment.environment_spec())
  assert experiment.config['agent']['num_sgd_steps_per_step'] >= 100
  assert not caplog.records


def test_goals_are_two_numbers():
  assert ogbench.parse_goal(None) is None
  assert ogbench.parse_goal(['12', '8.5']) == (12, 8.5)
  for flag in (['12'], ['12', 'x'], ['1', '2', '3']):
    with pytest.raises(
        ValueError, match=f'--dataset_goal={",".join(flag)}: it must be two'):
      ogbench.parse_goal(flag)


def test_other_data_of_the_same_name_is_refused(tmp_path, pointmaze_file):
  """Each Minari dataset is a `main_data.hdf5`, each RLDS one a `1.0.0`."""
  (tmp_path / 'other').mkdir()
  other = tmp_path / 'other' / os.path.basename(pointmaze_file)
  pointmaze_generator.write(str(other), 'pointmaze-umaze', num_transitions=2000)
  gin_options.parse([], [])

  def make(path):
    return settings.make_experiment(
        settings.AgentConfig(), tasks.TaskConfig(dataset=str(path)),
        settings.Budget(2), root_dir=str(tmp_path / 'run'))

  experiment = make(pointmaze_file)
  run_directory.claim(experiment, run_directory.identify(experiment, 1980))
  moved = tmp_path / 'moved.hdf5'
  shutil.copy(pointmaze_file, moved)
  run_directory.check(make(moved))
  with pytest.raises(ValueError, match='data.digest: the run has') as error:
    run_directory.check(make(other))
  for path in (pointmaze_file, other):  # Both sides are shown.
    assert str(path) in str(error.value)
