"""Tests a learner of two hosts in a real program, in the embedded maze."""

import os
import re
import signal

from acme_msg.datasets.delivery import chunks
from acme_msg.launch import checkpointing
from acme_msg.launch import evaluations
from acme_msg.launch import local
import maze
import programs
import pytest


def test_killed_group_resumes_in_one_process(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  root_dir = str(tmp_path / 'run')
  with programs.Program(
      [maze.__file__, root_dir, '2', 'num_learner_hosts=2'],
      tmp_path / 'output') as program:
    program.wait_until(lambda: checkpointing.latest_step(root_dir))
    host, = re.findall(
        r'learner host 1 of 2 [(].*, pid (\d+)[)] has 2 of 4 devices',
        program.output())
    os.kill(int(host), signal.SIGKILL)
    code, output = program.wait()
  assert code == 1
  assert 'the node learner/1 exited with code -9' in output, output
  assert 'sending the dataset to learner host 1' in output
  # Host 0 alone logs; files are named after processes.
  assert not list((tmp_path / 'run' / 'tensorboard').glob(f'*.{host}.*'))
  step = checkpointing.latest_step(root_dir)
  assert 0 < step < 80

  # With one device: another number of hosts and of devices.
  experiment = maze.make_experiment(root_dir)
  local.run_local(experiment)
  assert f'Resumed at gradient step {step}' in capsys.readouterr().out
  results = evaluations.load(root_dir)
  assert list(results) == list(experiment.evaluated_steps())
  assert checkpointing.latest_step(root_dir) == 80


def _where(position, host, consumed):
  """The epoch and row at which a host is after so many transitions."""
  order = chunks.Order(
      position['num_transitions'], position['seed'], host, num_readers=2)
  epoch = 0
  while consumed > (size := int(order.chunk_sizes(epoch).sum())):
    epoch, consumed = epoch + 1, consumed - size
  return [epoch, consumed]


def _check_position(root_dir, step):
  """Asserts that each host has seen its half of all minibatches, of 16."""
  position = checkpointing.CheckpointManager(root_dir).restore_position()
  assert position['hosts'] == [
      _where(position, host, step * 8) for host in range(2)]


def test_stopped_group_goes_on_in_streamed_data(tmp_path, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  root_dir = str(tmp_path / 'run')
  # Neither checkpoint nor evaluation is due before the end.
  arguments = [maze.__file__, root_dir, '1', 'num_learner_hosts=2',
               'streamed=1', 'normalize=1', 'num_steps=150',
               'eval_every_steps=150']
  with programs.Program(arguments, tmp_path / 'output') as program:
    metrics = tmp_path / 'run' / 'logs' / 'learner.csv'
    program.wait_until(lambda: metrics.exists() and metrics.stat().st_size)
    os.kill(program.pid, signal.SIGTERM)
    code, output = program.wait()
  step = checkpointing.latest_step(root_dir)
  assert code == 1 and step is not None, output
  assert f'Stopped and saved at gradient step {step}' in output
  assert 0 < step < 300
  _check_position(root_dir, step)

  with programs.Program(arguments, tmp_path / 'output') as program:
    code, output = program.wait()
  assert code == 0, output
  assert f'Resumed at gradient step {step}' in output
  assert 'Finished at gradient step 300' in output
  _check_position(root_dir, 300)


@pytest.mark.parametrize('fields, devices', [
    (dict(num_learner_hosts=2), None), (dict(), 2)])
def test_threads_are_no_hosts(tmp_path, fields, devices):
  with pytest.raises(ValueError, match="use launch_type='local_mp'"):
    local.launch(maze.make_experiment(str(tmp_path), **fields), 'local_mt',
                 num_devices_per_host=devices)
  assert not list(tmp_path.iterdir())
