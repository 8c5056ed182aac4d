"""Tests the checks of experiments and of run directories, and the progress."""

import contextlib
import dataclasses
import json
import operator
import os
import pty
import re
import sys
import time

import acme_msg
from acme_msg import launch
from acme_msg.launch import evaluations
from acme_msg.launch import launchpad_program
from acme_msg.launch import local
from acme_msg.launch import progress
from acme_msg.launch import run_directory
import cloning
import pytest


@pytest.mark.parametrize('fields, message', [
    (dict(num_steps=0), 'num_steps must be a positive integer, not 0'),
    (dict(num_steps=None), 'num_steps must be a positive integer, not None'),
    (dict(num_steps=7), 'eval_every_steps=2 does not divide num_steps=7'),
    (dict(episodes_per_eval=-1), 'episodes_per_eval'),
    (dict(num_evaluators=1.5), 'num_evaluators'),
    (dict(checkpoint_every_steps=0), 'checkpoint_every_steps'),
    (dict(seed=-1), 'seed must be in .*, not -1'),
    (dict(seed=None), 'seed must be in .*, not None'),
])
def test_invalid_values_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    cloning.make_experiment('/tmp/unused', **fields)


def test_config_must_be_json():
  experiment = cloning.make_experiment('/tmp/unused')
  with pytest.raises(ValueError, match='config must be plain JSON'):
    dataclasses.replace(experiment, config={'network': cloning.make_network})
  with pytest.raises(ValueError, match='root_dir is empty'):
    dataclasses.replace(experiment, root_dir='')


def test_steps_are_counted_in_gradient_steps():
  experiment = cloning.make_experiment('~/unused')
  assert list(experiment.evaluated_steps()) == [10, 20, 30, 40]
  assert experiment.checkpoint_period == 2
  # The default follows a changed setting.
  assert dataclasses.replace(
      experiment, eval_every_steps=4).checkpoint_period == 4
  assert os.path.isabs(experiment.root_dir)


def _claim(experiment, num_transitions=500):
  run_directory.claim(
      experiment, run_directory.identify(experiment, num_transitions))


def test_settings_are_recorded_and_compared(tmp_path):
  experiment = cloning.make_experiment(str(tmp_path / 'run'))
  _claim(experiment)
  with open(tmp_path / 'run' / 'config.json') as f:
    assert json.load(f) == {
        'seed': 3, 'num_steps': 8, 'num_sgd_steps_per_step': 5,
        'eval_every_steps': 2, 'episodes_per_eval': 3,
        'config': {'agent': {'size': 8}},
        'data': {'kind': 'own', 'num_transitions': 500},
        'acme_msg_version': acme_msg.__version__}
  _claim(experiment)
  # Settings that decide no result may differ; num_steps may grow.
  _claim(dataclasses.replace(
      experiment, num_steps=10, num_evaluators=2, checkpoint_every_steps=1))
  for config, message in (
      ({'agent': {'size': 9}}, 'config.agent.size: the run has 8, asked for 9'),
      ({'agent': {'size': 8, 'depth': 2}}, 'config.agent.depth: .*none'),
      ({}, 'config.agent.size: the run has 8, asked for .*none')):
    with pytest.raises(ValueError, match=message):
      run_directory.check(dataclasses.replace(
          experiment, num_steps=10, config=config))


def test_directories_of_other_versions_are_resumed(tmp_path):
  experiment = cloning.make_experiment(str(tmp_path))
  _claim(experiment)
  path = tmp_path / 'config.json'
  record = json.loads(path.read_text())
  del record['acme_msg_version']  # As before version 0.2.
  for version in ({}, {'acme_msg_version': '0.0.1'}):
    path.write_text(json.dumps({**record, **version}))
    _claim(experiment)
    assert json.loads(path.read_text()) == {
        **record, 'acme_msg_version': acme_msg.__version__}


def test_results_of_unknown_settings_are_refused(tmp_path):
  (tmp_path / 'evaluations.npz').touch()
  with pytest.raises(ValueError, match='settings are unknown'):
    run_directory.check(cloning.make_experiment(str(tmp_path)))


def test_unknown_launch_type_is_refused(tmp_path):
  with pytest.raises(ValueError, match="not 'vertex_ai'"):
    local.launch(cloning.make_experiment(str(tmp_path)), 'vertex_ai')


def test_progress_shows_phase_speed_and_rest(capsys):
  shown = progress.Progress(total=1000, period=0.02)
  with shown:
    shown.wait_for('compiling')
    output, deadline = '', time.time() + 60
    while '(0 s)' not in output and time.time() < deadline:
      output += capsys.readouterr().out
  assert re.search(r'compiling ... since \d\d:\d\d:\d\d \(0 s\)', output)
  shown.train(0)
  shown.train(250, 'score 5')
  line = shown.line()
  assert line.startswith('250/1,000 gradient steps | ')
  assert '/s | ETA 0:00:' in line
  assert line.endswith('score 5')
  for _ in range(2):  # No step is done in a whole period.
    time.sleep(0.05)
    line = shown.line()
  assert re.search(
      r'ETA unknown, no learner step since ..:..:.. \(0 s\)', line), line


def test_progress_names_what_is_awaited(tmp_path):
  queue = evaluations.Evaluations(str(tmp_path))
  for step in (10, 20):
    queue.publish(step, b'')
  queue.claim('evaluator_0')
  shown = progress.Progress(total=1000)
  shown.train(250)
  shown.waits_for(queue.awaited())
  assert re.search(
      r'waiting for evaluator_0 \(evaluates step 10 since ..:..:..\) and an '
      r'evaluator to take step 20, since ..:..:.. \(0 s\)', shown.line())
  shown.waits_for('')
  assert 'waiting' not in shown.line()


def test_progress_is_one_updated_line_on_a_terminal(monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  here, there = pty.openpty()
  with open(there, 'w') as terminal:
    monkeypatch.setattr(sys, 'stdout', terminal)
    with progress.Progress(total=1000) as shown:
      for done in (250, 500, 750):
        shown.train(done)
        time.sleep(0.6)  # Lets the line refresh; no assertion needs it.
      print('above the line')
  output = b''
  with contextlib.suppress(OSError):  # At the end.
    while True:
      output += os.read(here, 4096)
  output = output.decode()
  assert '750/1,000 gradient steps' in output
  assert 'above the line\r\n' in output
  assert '\x1b[2K' in output  # The line is erased before it is written again.
  lines = [line for line in output.split('\n') if 'gradient steps' in line]
  assert len(lines) <= 2, output


def test_public_names_and_frozen_configs():
  assert {name: getattr(launch, name).__name__ for name in launch.__all__} == {
      name: name for name in (
          'ExperimentConfig', 'StreamConfig', 'launch', 'run_local')}
  with pytest.raises(dataclasses.FrozenInstanceError):
    cloning.make_experiment('/tmp/unused').seed = 1
  with pytest.raises(AttributeError, match='no_such_name'):
    operator.attrgetter('no_such_name')(launch)


def test_program_has_a_group_for_each_kind_of_node():
  program = launchpad_program.make_program(
      cloning.make_experiment('/tmp/unused', num_evaluators=3))
  assert {label: len(nodes) for label, nodes in program.groups.items()} == {
      'data': 1, 'learner': 1, 'evaluator': 3}
