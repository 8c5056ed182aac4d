"""Runs the quickstart with few steps."""

import json

import h5py

_TASK = 'pointmaze-umaze-diverse'


def test_quickstart(run, tmp_path):
  root_dir = tmp_path / 'runs'
  arguments = [f'--root_dir={root_dir}', '--num_steps=10',
               '--episodes_per_eval=1', '--seed=2']
  result = run(*arguments, module='quickstart',
               ACME_MSG_DATA_DIR=str(tmp_path / 'data'))
  assert result.code == 0, result.stderr
  [data] = (tmp_path / 'data').iterdir()
  with h5py.File(data) as file:
    assert len(file['rewards']) == 300_000
  last = result.stdout.splitlines()[-1]
  assert last.startswith('RESULT ')
  found = json.loads(last[len('RESULT '):])
  assert found['task'] == _TASK
  assert found['gradient_steps'] == 1000
  assert found['root_dir'] == str(root_dir)
  for name in ('msg_score', 'bc_score'):
    assert 0 <= found[name] <= 100
  assert found['seconds'] > 0
  assert len(found) == 6
  for name in ('learning_curves.png', 'msg/learning_curve.png',
               'msg/maze.png'):
    assert (root_dir / name).stat().st_size
  assert str(root_dir / 'learning_curves.png') in result.stdout
  assert str(root_dir / 'msg' / 'maze.png') in result.stdout
  for agent in ('msg', 'bc'):
    assert (root_dir / agent / 'checkpoints' / '1000').is_dir()


def test_steps_that_are_not_evaluated_are_refused(run, tmp_path):
  result = run('--num_steps=15', f'--root_dir={tmp_path}/runs',
               module='quickstart', ACME_MSG_DATA_DIR=str(tmp_path / 'data'))
  assert result.code == 1
  assert '--num_steps=15' in result.stderr
  assert 'must be a positive multiple of 10' in result.stderr
  assert not list(tmp_path.iterdir())
