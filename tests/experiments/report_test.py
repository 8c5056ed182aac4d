"""Tests of what is read from a run."""

from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np
import pytest

from acme_msg.experiments import algorithms
from acme_msg.experiments import report
from acme_msg.experiments import settings
from acme_msg.launch import checkpointing


def _make(path, root_dir, options):
  algorithms.parse_gin([], [f'msg.config.MSGConfig.{option}' for option in (
      'num_sgd_steps_per_step=5', 'batch_size=8', *options,
      'actor_network_hidden_sizes=(8,)', 'critic_network_hidden_sizes=(8,)')])
  return settings.make_experiment(
      algorithm='msg', task_class='pointmaze',
      task_name='pointmaze-umaze-diverse', root_dir=str(root_dir), seed=1,
      num_steps=4, eval_every_steps=2, episodes_per_eval=1, dataset=path)


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
