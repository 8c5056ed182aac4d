"""Tests runs with data options."""

import functools

from acme.utils import counting
from acme.utils import loggers
from acme_msg import launch
from acme_msg.datasets import data_options
from acme_msg.datasets import loading
from acme_msg.datasets import sources
from acme_msg.experiments import report
from acme_msg.experiments import settings
from acme_msg.launch import checkpointing
from acme_msg.launch import local
import jax
import numpy as np
import pytest
import small_runs
import tensorflow as tf

pytestmark = pytest.mark.usefixtures('compile_quickly')

_OPTIONS = data_options.DataOptions(top_fraction=.5, n_step=3)


def _make(path, root_dir='nowhere', **options):
  return small_runs.make_experiment(
      ('num_sgd_steps_per_step=5', 'ensemble_size=2', 'batch_size=8',
       'num_bc_iters=0', 'actor_network_hidden_sizes=(8,)',
       'critic_network_hidden_sizes=(8,)'), root_dir, path,
      data=settings.DataConfig(**options))


@pytest.mark.parametrize('stream', [None, launch.StreamConfig()])
def test_run_on_chosen_normalised_data(pointmaze_file, tmp_path, stream):
  experiment = _make(
      pointmaze_file, tmp_path, options=_OPTIONS,
      normalize_observations=True, stream=stream)
  local.run_local(experiment)
  assert report.draw(experiment) == [
      str(tmp_path / 'learning_curve.png'), str(tmp_path / 'maze.png')]
  model = tf.saved_model.load(report.export_policy(experiment))

  # The exported policy is the learner's, with the statistics of the data.
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  data = loading.load(
      sources.find(pointmaze_file), 'pointmaze-umaze-diverse', _OPTIONS)
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(5), networks, data,
      lambda *_, **__: loggers.NoOpLogger(), spec)
  checkpointing.CheckpointManager(str(tmp_path)).restore(
      learner, counting.Counter())
  params = learner.get_variables(list(experiment.variables))
  np.testing.assert_allclose(
      params[-1].mean, data.observation.mean(axis=0), rtol=1e-4)
  policy = experiment.builder.make_policy(networks, spec, True)
  observation = data.observation[7]
  np.testing.assert_allclose(
      model.act(observation, 3),
      policy(params, jax.random.PRNGKey(3), observation[None])[0], atol=1e-5)

  # The networks in the picture are the learner's, too.
  plain, *found = report.trained_networks(experiment)
  jax.tree.map(np.testing.assert_array_equal, found, params[:1] + (
      learner.get_variables(['critic'])))
  seen = params[-1].apply(observation[None])
  for i, args in enumerate([(), (data.action[7][None],)]):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5),
        plain[i].apply(found[i], observation[None], *args),
        networks[i].apply(found[i], seen, *args))


def test_record_tells_what_differs_from_the_defaults(pointmaze_file):
  assert 'data' not in _make(pointmaze_file).config
  assert _make(
      pointmaze_file, options=_OPTIONS,
      stream=launch.StreamConfig(5000)).config['data'] == {
          'top_fraction': .5, 'n_step': 3, 'data_mode': 'stream',
          'shuffle_buffer': 5000}


def test_returns_of_several_steps_have_the_agents_discount(pointmaze_file):
  data = _make(pointmaze_file, options=_OPTIONS).dataset_factory()
  # Transitions at the end of an episode span fewer steps.
  np.testing.assert_allclose(np.median(data.discount), .99 ** 2, rtol=1e-6)


def test_streamed_data_is_read_in_blocks(pointmaze_file):
  factory = _make(
      pointmaze_file, stream=launch.StreamConfig()).dataset_factory
  blocks = list(factory())
  assert sum(len(block.reward) for block in blocks) == len(
      _make(pointmaze_file).dataset_factory().reward)
