"""Tests that the examples run and learn.

The task is the embedded maze with a single start and goal. The return of an
episode is 1 if it reaches the goal, else 0.
"""

import csv
import dataclasses
import os
import pickle
import re

from acme.utils import loggers
from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.datasets import pointmaze_generator
from acme_msg.experiments import algorithms
from acme_msg.experiments import tasks
from acme_msg.experiments.examples import local_layout
from acme_msg.experiments.examples import offline_loop
from acme_msg.experiments.examples import online_finetuning
from acme_msg.experiments.examples import small
from acme_msg.launch import evaluations
import jax
import numpy as np
import pytest

_BC = bc.BCConfig(
    policy_lr=3e-4, batch_size=256, num_sgd_steps_per_step=50,
    eval_mode='sample', actor_network_hidden_sizes=(32,))
# Builders, and the options that differ from those of `small`.
_VARIANTS = {
    'deep': (builders.DeepEnsembleBuilder, {}),
    'tree': (builders.TreeEnsembleBuilder, dict(
        ensemble_method='tree_deep_ensembles', tree_branching=2, tree_depth=2,
        tree_width=32)),
    'mimo': (builders.MIMOBuilder, dict(
        ensemble_method='mimo', mimo_using_obs_tile=True)),
    'multi_head': (builders.MultiHeadBuilder, dict(
        ensemble_method='multi_head')),
    'batch_ensemble': (builders.BatchEnsembleBuilder, dict(
        ensemble_method='batch_ensemble', batch_split=False,
        eval_mode='sample')),
}
# Least share of a trained policy's episodes that reach the goal. A cloned
# policy that misses a turn stays at a wall: it has not learned to turn back.
_LEAST = {'bc': 0.25, **dict.fromkeys(_VARIANTS, 0.5)}


def _make_agent(name):
  if name == 'bc':
    return algorithms.make_agent(_BC)
  builder_class, options = _VARIANTS[name]
  config = dataclasses.replace(small.CONFIG, **options)
  return algorithms.make_agent(config)._replace(builder=builder_class(config))


@pytest.fixture(name='path', scope='module')
def _path(tmp_path_factory):
  """A small dataset."""
  path = str(tmp_path_factory.mktemp('data') / 'umaze.hdf5')
  pointmaze_generator.write(path, small.TASK_NAME, num_transitions=20_000)
  return path


@pytest.fixture(name='task', scope='module')
def _task(path):
  return tasks.make_task(
      tasks.TaskConfig('pointmaze', small.TASK_NAME, path))


def _evaluations(directory):
  """Returns of the loop's evaluations, by gradient steps."""
  with open(os.path.join(directory, 'logs', 'evaluator.csv')) as f:
    rows = list(csv.DictReader(f))
  returns = {}
  for row in rows:
    returns.setdefault(int(row['gradient_steps']), []).append(
        float(row['episode_return']))
  return returns


@pytest.mark.parametrize('name', ['deep', 'bc'])
def test_offline_loop_learns_and_resumes(name, task, tmp_path):
  def run(directory, num_gradient_steps):
    return offline_loop.run(
        _make_agent(name), task, str(directory),
        num_gradient_steps=num_gradient_steps, eval_every=10,
        num_eval_episodes=4)

  learner = run(tmp_path / 'whole', 3000)
  returns = _evaluations(tmp_path / 'whole')
  assert list(returns) == list(range(500, 3001, 500))
  assert [len(episodes) for episodes in returns.values()] == [4] * 6
  assert np.mean(list(returns.values())[3:]) >= _LEAST[name]
  # A second run makes the steps that the first one has not made.
  run(tmp_path / 'parts', 1000)
  again = run(tmp_path / 'parts', 3000)
  assert list(_evaluations(tmp_path / 'parts')) == list(returns)
  jax.tree.map(np.testing.assert_array_equal, again.save(), learner.save())


@pytest.mark.parametrize('name', list(_LEAST))
def test_local_layout_learns(name, task, tmp_path):
  log = loggers.InMemoryLogger()
  local_layout.run(
      _make_agent(name), task, str(tmp_path), log, num_env_steps=8000,
      env_steps_per_learner_step=100)
  # Each learner step makes 50 gradient steps.
  counts = log.data[-1]
  assert counts['learner_steps'] == counts['actor_steps'] // 100 * 50
  returns = [row['episode_return'] for row in log.data]
  assert np.mean(returns[len(returns) // 2:]) >= _LEAST[name]


# Launchpad needs the main thread of a new process. Several layouts are launched
# as one program. After 3,000 gradient steps learners slow down, so that they do
# not take the processor from the evaluators.
_DISTRIBUTED = '''
import pickle
import time

from absl import app
from acme_msg.experiments.examples import offline_distributed_layout
import launchpad as lp

class Slowing:
  def __init__(self, builder):
    self._builder = builder

  def __getattr__(self, name):
    if name.startswith('__'):
      raise AttributeError(name)  # Pickle asks before __init__.
    return getattr(self._builder, name)

  def make_learner(self, *args, **kwargs):
    learner = self._builder.make_learner(*args, **kwargs)
    step, count = learner.step, 0

    def slowing_step():
      nonlocal count
      count += 1
      step()
      if count > 60:
        time.sleep(.5)

    learner.step = slowing_step
    return learner

def main(argv):
  program = lp.Program('layouts')
  with open(argv[1], 'rb') as f:
    layouts = pickle.load(f)
  for label, agent, *args in layouts:
    agent = agent._replace(builder=Slowing(agent.builder))
    layout = offline_distributed_layout.make_program(
        agent, *args, num_gradient_steps=int(argv[3]), label=label)
    for group, nodes in layout.groups.items():
      program.groups[f'{label}_{group}'] = nodes
  lp.launch(program, launch_type=argv[2], terminal='current_terminal')

app.run(main)
'''
_OWN = '''
import pickle

from absl import app
from acme_msg.experiments.examples import own_builder
from acme_msg.launch import local

def main(argv):
  with open(argv[1], 'rb') as f:
    args = pickle.load(f)
  local.launch(own_builder.make_experiment(
      *args, num_steps=1000, eval_every_steps=500, episodes_per_eval=10))

app.run(main)
'''


def _arguments(path, *args):
  """Writes the arguments that a program reads; returns the file's name."""
  path.write_bytes(pickle.dumps(args))
  return str(path)


def _layouts(names, task, path):
  """Writes the arguments of the layouts' programs; returns the file's name."""
  return _arguments(path / 'layouts', *(
      (name, _make_agent(name), task, str(path / name)) for name in names))


def _trained_returns(name, *printed):
  """Returns of one evaluator's episodes after 3,000 gradient steps."""
  label = name.replace('_', ' ').title()
  rows = re.findall(
      rf'\[{label}\] .*Episode Return = ([0-9.]+).*Learner Steps = ([0-9]+)',
      ''.join(printed))
  return [float(episode_return) for episode_return, learner_steps in rows
          if int(learner_steps) >= 3000]


@pytest.mark.parametrize('names, launch_type', [
    (['deep'], 'local_mp'),
    ([name for name in _LEAST if name != 'deep'], 'local_mt')])
def test_offline_distributed_layout_learns(
    names, launch_type, run, task, tmp_path):
  """Waits for the evaluators, however slow they are beside the learners."""
  result = run(
      _layouts(names, task, tmp_path), launch_type, str(10**9),
      code=_DISTRIBUTED,
      # Processes print to stdout, threads to stderr.
      kill_when=lambda *printed: all(
          len(_trained_returns(name, *printed)) >= 20 for name in names))
  for name in names:
    returns = _trained_returns(name, result.stdout, result.stderr)
    assert len(returns) >= 20, result
    assert np.mean(returns) >= _LEAST[name], name


def test_offline_distributed_layout_ends(run, task, tmp_path):
  # The exit code is not checked: Launchpad kills the process if a node waits
  # for an answer of the counter, which ends first.
  result = run(
      _layouts(['bc'], task, tmp_path), 'local_mt', '100', code=_DISTRIBUTED)
  assert 'Max steps of 100 was reached' in result.stderr, result.stderr


def test_online_finetuning_improves_an_offline_policy(task):
  before, after = online_finetuning.run(
      small.AGENT, builders.MSGBuilder(online_finetuning.ONLINE_CONFIG), task,
      num_offline_steps=1, num_env_steps=8000, env_steps_per_learner_step=50,
      min_replay_size=2000, num_eval_episodes=20)
  assert before <= 0.3 and after >= 0.7


def test_own_builder_learns_in_our_program(run, task, tmp_path):
  result = run(
      _arguments(tmp_path / 'args', task, str(tmp_path / 'run')), code=_OWN)
  assert result.code == 0, result.stderr
  results = evaluations.load(str(tmp_path / 'run'))
  assert list(results) == [500, 1000]
  assert np.mean([result.returns for result in results.values()]) >= 0.5
