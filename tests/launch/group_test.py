"""Tests a learner of two hosts in a real program, in the embedded maze."""

import os
import re
import shutil
import signal

from acme_msg.datasets.delivery import chunks
from acme_msg.launch import calls
from acme_msg.launch import checkpointing
from acme_msg.launch import evaluations
from acme_msg.launch import local
import maze
import programs
import pytest


def _where(position, host, consumed):
  """Returns the epoch and row of a host that has read `consumed` rows."""
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


def _check_closed_to_others(program):
  """Asserts that others can neither reach nor call the nodes."""
  paths, ports = program.sockets()
  assert len(paths) == 3  # The data node and both learners.
  for path in paths:
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    with pytest.raises(calls.RemoteError, match='the secret is wrong'):
      calls.Client(f'unix:{path}', 'guess').report(
          'evaluator_0', [1e9], [1]).result(60)
  assert len(ports) == 4  # Reverb, the hosts' coordinator, Gloo on each host.
  assert not any(programs.is_open(port) for port in ports)


def test_stopped_then_killed_group_resumes(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  root_dir = str(tmp_path / 'run')
  fields = dict(streamed=1, normalize=1, num_steps=450, eval_every_steps=150)
  arguments = [maze.__file__, root_dir, '2', 'num_learner_hosts=2',
               *(f'{name}={value}' for name, value in fields.items())]

  # The launcher is told to stop: both hosts do, and save, while neither
  # a checkpoint nor an evaluation is due.
  with programs.Program(arguments, tmp_path / 'output') as program:
    metrics = tmp_path / 'run' / 'logs' / 'learner.csv'
    program.wait_until(lambda: metrics.exists() and metrics.stat().st_size)
    _check_closed_to_others(program)
    os.kill(program.pid, signal.SIGTERM)
    code, output = program.wait()
  stopped_at = checkpointing.latest_step(root_dir)
  assert code == 1 and stopped_at, output
  assert f'Stopped and saved at gradient step {stopped_at}' in output
  assert stopped_at < 300
  _check_position(root_dir, stopped_at)

  # A damaged checkpoint is newer; both hosts take the one before it.
  checkpoints = tmp_path / 'run' / 'checkpoints'
  shutil.copytree(checkpoints / str(stopped_at),
                  checkpoints / str(stopped_at + 2))
  (checkpoints / str(stopped_at + 2) / 'counter' / 'metadata').write_text('{}')

  # A host is killed: the other one ends, too.
  with programs.Program(arguments, tmp_path / 'output') as program:
    program.wait_until(
        lambda: checkpointing.latest_step(root_dir) > stopped_at + 2)
    host, = re.findall(
        r'learner host 1 of 2 [(].*, pid (\d+)[)] has 2 of 4 devices',
        program.output())
    os.kill(int(host), signal.SIGKILL)
    code, output = program.wait()
  assert code == 1
  assert f'Resumed at gradient step {stopped_at}' in output
  assert 'is damaged: counter/metadata does not hold what' in output
  assert (checkpoints / f'damaged-{stopped_at + 2}').is_dir()
  assert 'the node learner/1 was killed by SIGKILL' in output, output
  assert 'to learner host 1' in output, output
  # Host 0 alone logs; files are named after processes.
  assert not list((tmp_path / 'run' / 'tensorboard').glob(f'*.{host}.*'))
  killed_at = checkpointing.latest_step(root_dir)
  assert stopped_at < killed_at < 900
  _check_position(root_dir, killed_at)

  # One process finishes, with one device.
  capsys.readouterr()
  experiment = maze.make_experiment(root_dir, **fields)
  local.run_local(experiment)
  output = capsys.readouterr().out
  assert f'Resumed at gradient step {killed_at}' in output
  assert 'Finished at gradient step 900' in output
  results = evaluations.load(root_dir)
  assert list(results) == list(experiment.evaluated_steps())
  assert max(result.returns.max() for result in results.values()) < 1e9
  assert checkpointing.latest_step(root_dir) == 900


@pytest.mark.parametrize('fields, devices', [
    (dict(num_learner_hosts=2), None), (dict(), 2)])
def test_threads_cannot_be_hosts(tmp_path, fields, devices):
  with pytest.raises(ValueError, match="use launch_type='local_mp'"):
    local.launch(maze.make_experiment(str(tmp_path), **fields), 'local_mt',
                 num_devices_per_host=devices)
  assert not list(tmp_path.iterdir())
