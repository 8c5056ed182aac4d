"""Tests which data a run goes on with, and that bad starts claim nothing."""

import csv
import dataclasses
import functools
import json
import os

from acme_msg import datasets
from acme_msg.launch import evaluations
from acme_msg.launch import local
from acme_msg.launch import run_directory
import cloning
import maze
import numpy as np
import pytest


def _claim(experiment, num_transitions=9):
  run_directory.claim(
      experiment, run_directory.identify(experiment, num_transitions))


def _write(path, reward=0., **fields):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  np.savez(path, observations=np.zeros((10, 2)), actions=np.zeros((10, 1)),
           terminals=np.arange(10) == 9, rewards=np.full(10, reward), **fields)
  return str(path)


def _on(root_dir, path, goal=None, **fields):
  """Returns an experiment on a file."""
  source = datasets.find(path, goal=goal)
  return cloning.make_experiment(
      str(root_dir), dataset_identity=functools.partial(
          datasets.identify, source), **fields)


def test_run_goes_on_with_its_data_only(tmp_path):
  first = _write(tmp_path / 'a' / 'main.npz')
  other = _write(tmp_path / 'b' / 'main.npz', reward=1.)  # Of the same size.
  root_dir = tmp_path / 'run'
  _claim(_on(root_dir, first))
  record = json.loads((root_dir / 'config.json').read_text())
  digest = record['data'].pop('digest')
  assert record['data'] == {
      'kind': 'ogbench', 'name': 'main.npz', 'path': first, 'goal': None,
      'size_bytes': os.path.getsize(first), 'num_transitions': 9}

  for path, goal, differing in (
      (other, None, ['digest', 'path']), (first, (1., 2.), ['goal'])):
    with pytest.raises(ValueError) as error:
      run_directory.check(_on(root_dir, path, goal))
    lines = [line for line in str(error.value).splitlines() if '  ' in line]
    assert [line.split(':')[0].strip() for line in lines] == [
        f'data.{name}' for name in differing]
  for text in (digest, repr(None), 'asked for [1.0, 2.0]'):
    assert text in str(error.value) or text == digest
  with pytest.raises(ValueError, match='num_transitions: the run has 9, .* 8'):
    _claim(_on(root_dir, first), num_transitions=8)

  # Moved and renamed data is the same data, and the record follows it.
  moved = str(tmp_path / 'new.npz')
  os.rename(first, moved)
  _claim(_on(root_dir, moved))
  record = json.loads((root_dir / 'config.json').read_text())['data']
  assert (record['path'], record['digest']) == (moved, digest)


def test_names_count_only_where_the_data_is_unknown(tmp_path):
  path = _write(tmp_path / 'a.npz')
  named = functools.partial(_on, tmp_path / 'run', path)

  def with_name(name):
    return dataclasses.replace(named(), config={'dataset': name})

  _claim(with_name('a.npz'))
  run_directory.check(with_name('b.npz'))
  # A run of an older version has a name alone.
  config = tmp_path / 'run' / 'config.json'
  record = json.loads(config.read_text())
  del record['data']
  config.write_text(json.dumps(record))
  with pytest.raises(ValueError, match="dataset: the run has 'a.npz'"):
    run_directory.check(with_name('b.npz'))
  _claim(with_name('a.npz'))
  assert json.loads(config.read_text())['data']['digest']


def _fail(*_, **__):
  raise ValueError('a fault')


def _no_next_actions():
  return maze.load_dataset()._replace(extras=())


class _FailingBuilder(cloning.CloningBuilder):
  """A builder whose learner fails in its first step."""

  def make_learner(self, *args, **kwargs):
    learner = super().make_learner(*args, **kwargs)
    learner.step = _fail
    return learner


# Experiments that cannot start, and what is said.
_BAD = {
    'data': (dict(fault='unreadable'), {}, 'unreadable'),
    'other task': (dict(size=2), {}, r'observations of shape \(2,\)'),
    'no environment': ({}, dict(environment_factory=_fail), 'a fault'),
    'no networks': ({}, dict(network_factory=_fail), 'a fault'),
    'no identity': ({}, dict(dataset_identity=_fail), 'a fault'),
    'first step': ({}, dict(builder=_FailingBuilder(5, 0.)), 'a fault'),
    'counter': (dict(learning=4), {}, '`learner_steps` is 4, but'),
}


def test_bad_starts_leave_nothing(tmp_path, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  root_dir = str(tmp_path / 'runs' / 'one')
  bad = {name: (dataclasses.replace(
      cloning.make_experiment(root_dir, **arguments), **fields), message)
         for name, (arguments, fields, message) in _BAD.items()}
  sarsa = maze.make_config(perform_sarsa_q_eval=True)
  bad['no next actions'] = (dataclasses.replace(
      maze.make_experiment(root_dir), dataset_factory=_no_next_actions,
      builder=type(maze.make_experiment(root_dir).builder)(sarsa)),
                            'perform_sarsa_q_eval needs')
  for name, (experiment, message) in bad.items():
    with pytest.raises(ValueError, match=message):
      local.run_local(experiment)
    assert not (tmp_path / 'runs').exists(), name
  # The corrected command starts, with other settings.
  local.run_local(cloning.make_experiment(
      root_dir, num_steps=2, eval_every_steps=1))
  assert list(evaluations.load(root_dir)) == [5, 10]
  assert sorted(os.listdir(root_dir)) == [
      'checkpoints', 'config.json', 'evaluations.npz', 'logs', 'tensorboard']
  with open(os.path.join(root_dir, 'logs', 'learner.csv')) as f:
    row = next(csv.DictReader(f))
  assert row['gradient_steps'] == '5'  # The row of the first step is kept.


def test_finished_run_is_left_alone_where_nothing_can_be_written(tmp_path):
  experiment = cloning.make_experiment(
      str(tmp_path / 'run'), num_steps=1, eval_every_steps=1)
  local.run_local(experiment)
  before = {entry.name: entry.stat().st_mtime_ns
            for entry in os.scandir(experiment.root_dir)}
  os.chmod(experiment.root_dir, 0o500)
  local.run_local(experiment)
  local.launch(experiment)
  os.chmod(experiment.root_dir, 0o700)
  assert before == {entry.name: entry.stat().st_mtime_ns
                    for entry in os.scandir(experiment.root_dir)}
