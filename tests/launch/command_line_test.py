"""Tests the command lines: their flags, what they refuse, and dry runs."""

import os
import re
import subprocess
import sys

from acme_msg.launch import command_line
from acme_msg.launch import local
from acme_msg.launch import pod
from acme_msg.launch.optional import terminals
import maze
import pytest


def _run(module, *args, **env):
  """Runs a command line of the launch room on this folder's experiments."""
  return subprocess.run(
      [sys.executable, '-W', 'ignore', '-m', f'acme_msg.launch.{module}',
       '--experiment=maze_flags:make_experiment', *args],
      env={**os.environ, **env},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _nodes(output):
  """Returns the lines of each node in the text of a dry run."""
  return {name: re.findall(r'\n  (\S+) +(.*)', '\n' + lines)
          for name, lines in re.findall(
              r'^(\w+/\d): .*\n((?:  .*\n?)*)', output, re.MULTILINE)}


@pytest.mark.parametrize('name, message', [
    ('os', 'not of the form MODULE:FUNCTION'),
    ('os:nothing', 'nothing'),
    ('os:path', 'path is not a function'),
    ('no_such_module:make', 'no_such_module')])
def test_refuses_what_is_no_experiment(monkeypatch, name, message):
  monkeypatch.setattr(sys, 'argv', ['launch', f'--experiment={name}'])
  with pytest.raises(SystemExit, match=message) as error:
    command_line.find_experiment(sys.argv)
  assert name in str(error.value)


@pytest.mark.parametrize('module, own', [
    ('local', {'num_learner_hosts', 'num_devices_per_host', 'terminal',
               'lp_launch_type'}),
    ('pod', {'coordinator_address', 'num_processes', 'process_id'})])
def test_help_groups_own_flags(module, own):
  done = _run(module, '--help')
  assert done.returncode == 0, done.stdout
  launching, experiment = re.search(
      r'Launching:\n(.*)\nThe experiment \(flags of maze_flags\):\n(.*)',
      done.stdout, re.DOTALL).groups()
  flags = [set(re.findall(r'^ +--(?:\[no\])?(\w+):', text, re.MULTILINE))
           for text in (launching, experiment)]
  assert flags == [own | {'experiment', 'dry_run'}, {'directory'}]
  assert done.stdout.startswith('Runs an experiment on')


def test_local_dry_run_starts_nothing(tmp_path):
  root_dir = tmp_path / 'run'
  done = _run('local', '--dry_run', f'--directory={root_dir}',
              '--num_learner_hosts=2', '--num_devices_per_host=4')
  assert done.returncode == 0, done.stdout
  assert str(root_dir) in done.stdout and not root_dir.exists()
  nodes = _nodes(done.stdout)
  assert list(nodes) == [
      'data/0', 'learner/0', 'learner/1', 'evaluator/0']
  for name, lines in nodes.items():
    devices = ('4 forced of the CPU' if name.startswith('learner') else 'CPU')
    assert ('devices', devices) in lines
    assert ('env', 'JAX_PLATFORMS=cpu') in lines
  assert ('env', 'XLA_FLAGS=--xla_force_host_platform_device_count=4'
         ) in nodes['learner/1']


def test_pod_dry_run_asks_slurm(tmp_path):
  done = _run(
      'pod', '--dry_run', f'--directory={tmp_path / "run"}',
      SLURM_JOB_ID='7', SLURM_STEP_NODELIST='node[05-08]', SLURM_NTASKS='4',
      SLURM_PROCID='2', SLURM_LOCALID='0')
  assert done.returncode == 0, done.stdout
  nodes = _nodes(done.stdout)
  assert [dict(lines)['on'] for lines in nodes.values()] == [
      'host 0 of 4', 'host 0 of 4', 'host 1 of 4', 'host 2 of 4, this one',
      'host 3 of 4', 'host 0 of 4']
  assert re.match(r'meets the others at node05:\d+$',
                  dict(nodes['learner/3'])['address'])
  assert dict(nodes['data/0'])['address'].startswith('node05,')
  # The accelerators are the learner's.
  assert 'env' not in dict(nodes['learner/2'])


@pytest.mark.parametrize('given, message', [
    ((None, None, None), 'no task of SLURM'),
    (('node:1', 2, None), 'process_id must be given as well'),
    (('node:1', 2, 2), 'process_id=2 must be'),
    (('node', 2, 1), "must be 'host:port'")])
def test_pod_refuses_unknown_hosts(monkeypatch, given, message):
  for name in [name for name in os.environ if name.startswith('SLURM')]:
    monkeypatch.delenv(name)
  with pytest.raises(ValueError, match=message):
    pod.find_host(*given)


def test_pod_names_what_slurm_lacks(monkeypatch):
  monkeypatch.setenv('SLURM_JOB_ID', '7')
  monkeypatch.delenv('SLURM_STEP_NODELIST', raising=False)
  with pytest.raises(ValueError, match='SLURM_STEP_NODELIST'):
    pod.find_host()


@pytest.mark.parametrize('options, message', [
    (dict(terminal='teletype'), 'teletype'),
    (dict(terminal='xterm'), "'output_to_files'"),
    (dict(terminal='tmux_session', launch_type='local_mt'), 'local_mp'),
    (dict(num_devices_per_host=0), 'num_devices_per_host=0')])
def test_local_refuses_before_anything_starts(
    tmp_path, monkeypatch, options, message):
  monkeypatch.delenv('DISPLAY', raising=False)
  with pytest.raises(ValueError, match=message):
    local.launch(maze.make_experiment(str(tmp_path / 'run')), **options)
  assert not list(tmp_path.iterdir())


def test_a_failed_node_ends_the_others_in_a_terminal(tmp_path):
  assert 'current_terminal' in terminals.NAMES
  done = _run('local', '--experiment=maze_flags:make_broken_experiment',
              f'--directory={tmp_path / "run"}', '--terminal=current_terminal')
  assert done.returncode == 1
  assert 'the disk is broken' in done.stdout
  assert 'error: the node data/0 ended' in done.stdout
