"""Tests what the settings of a run mean, and which are refused."""

import os
import pickle

import pytest

from acme_msg.experiments import algorithms
from acme_msg.experiments import settings

_S = 'msg.config.MSGConfig.num_sgd_steps_per_step'


def _make(*bindings, configs=(), **changes):
  """Makes the experiment of a command line; little of it by default."""
  algorithms.parse_gin(configs, bindings)
  return settings.make_experiment(**{
      'algorithm': 'msg', 'task_class': 'pointmaze',
      'task_name': 'pointmaze-umaze', 'root_dir': 'nowhere', 'seed': 1,
      'num_steps': 100, 'eval_every_steps': 10, 'episodes_per_eval': 1,
      **changes})


def test_steps_of_the_flags_are_learner_steps():
  experiment = _make(
      f'{_S}=200', 'msg.config.MSGConfig.num_bc_iters=50000',
      num_steps=11000, eval_every_steps=500, batch_size=51200)
  assert experiment.gradient_steps(experiment.num_steps) == 2_200_000
  assert len(experiment.evaluated_steps()) == 22
  assert experiment.evaluated_steps()[0] == 100_000
  config = experiment.builder.config
  # S * B rows per learner step; the others count gradient steps and rows.
  assert config.num_sgd_steps_per_step == 200
  assert config.batch_size == 256
  assert config.num_bc_iters == 50_000


def test_flag_and_binding_may_say_the_same():
  experiment = _make(
      f'{_S}=20', 'msg.config.MSGConfig.batch_size=32',
      num_sgd_steps_per_step=20, batch_size=640)
  assert experiment.num_sgd_steps_per_step == 20
  assert experiment.builder.config.batch_size == 32


@pytest.mark.parametrize('bindings, changes, words', [
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
def test_contradictions_are_refused(bindings, changes, words):
  with pytest.raises(ValueError, match=words):
    _make(*bindings, **changes)


@pytest.mark.parametrize('changes, words', [
    (dict(algorithm='sac'), r"--algorithm='sac' is not .*'msg'"),
    (dict(eval_every_steps=30),
     'eval_every_steps=30 does not divide num_steps=100'),
    (dict(num_steps=0), 'num_steps must be a positive'),
    (dict(episodes_per_eval=0), 'episodes_per_eval must be'),
    (dict(num_evaluators=0), 'num_evaluators must be'),
    (dict(seed=-1), 'seed must be in'),
    (dict(root_dir=''), 'root_dir is empty'),
])
def test_settings_without_a_sense_are_refused(changes, words):
  with pytest.raises(ValueError, match=words):
    _make(**changes)


def test_q_filter_asks_for_the_critic():
  assert list(_make(
      'msg.config.MSGConfig.eval_with_q_filter=True').variables) == [
          'policy', 'critic']
  assert list(_make().variables) == ['policy']


@pytest.mark.parametrize('recipe', sorted(os.listdir(
    os.path.join(os.path.dirname(settings.__file__), 'recipes'))))
def test_recipes_make_experiments(recipe, caplog):
  algorithms.parse_gin([recipe], [])
  [algorithm] = [name for name in algorithms.ALGORITHMS if algorithms.bound(name)]
  experiment = _make(configs=[recipe], algorithm=algorithm)
  # Other processes get it and make the networks.
  experiment = pickle.loads(pickle.dumps(experiment))
  assert experiment.network_factory(experiment.environment_spec())
  assert experiment.config['agent']['num_sgd_steps_per_step'] >= 100
  assert not caplog.records
