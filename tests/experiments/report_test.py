"""Tests of the results and pictures of a run."""

import dataclasses

from acme.utils import counting
from acme.utils import loggers
from acme_msg.experiments import report
from acme_msg.launch import checkpointing
import jax
import numpy as np
import pytest
import small_runs

pytestmark = pytest.mark.usefixtures('compile_quickly')


def _make(path, root_dir, options):
  return small_runs.make_experiment(
      ('num_sgd_steps_per_step=5', 'batch_size=8', *options,
       'actor_network_hidden_sizes=(8,)', 'critic_network_hidden_sizes=(8,)'),
      root_dir, path)


@pytest.mark.parametrize('options', [
    ['use_double_q=True'], ['ensemble_method="multi_head"']])
def test_trained_networks_are_the_learners(pointmaze_file, tmp_path, options):
  experiment = _make(
      pointmaze_file, tmp_path, ['ensemble_size=2', *options])
  spec = experiment.environment_spec()
  counter = counting.Counter()
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(3), experiment.network_factory(spec),
      experiment.dataset_factory(), lambda *_, **__: loggers.NoOpLogger(),
      spec, counter=counting.Counter(counter, prefix='learner'))
  learner.step()
  with pytest.raises(ValueError, match='no complete checkpoint'):
    report.trained_networks(experiment)
  manager = checkpointing.CheckpointManager(str(tmp_path))
  manager.save(5, learner, counter)
  manager.close()

  _, *found = report.trained_networks(experiment)
  expected = learner.get_variables(['policy', 'critic'])
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, found, expected)

  others = _make(pointmaze_file, tmp_path, ['ensemble_size=5', *options])
  with pytest.raises(ValueError, match='does not hold what these networks'):
    report.trained_networks(others)


def test_failing_pictures_are_told_in_one_line_each(
    pointmaze_file, tmp_path, capsys):
  experiment = _make(pointmaze_file, tmp_path, [])
  assert report.draw(experiment) == []  # There are no results yet.
  curve, maze = capsys.readouterr().err.splitlines()
  assert curve.startswith(
      f'warning: {tmp_path}/learning_curve.png was not drawn: ValueError: ')
  assert 'has no evaluations yet' in curve
  assert maze.startswith(f'warning: {tmp_path}/maze.png was not drawn: ')
  assert 'no complete checkpoint' in maze


@pytest.mark.parametrize('changes', [
    {'task_class': 'd4rl'}, {'agent': {'policy_lr': 1e-4}}])
def test_only_msg_in_mazes_needs_an_environment(
    pointmaze_file, tmp_path, capsys, changes):
  experiment = _make(pointmaze_file, tmp_path, [])
  experiment = dataclasses.replace(
      experiment, environment_factory=None,
      config={**experiment.config, **changes})
  assert report.draw(experiment) == []
  assert len(capsys.readouterr().err.splitlines()) == 1  # The curve alone.
