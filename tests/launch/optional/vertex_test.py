"""Tests what would be submitted to Vertex AI, without a cloud."""

import importlib.util
import json
import os
import re
import subprocess
import sys

from acme_msg.launch import data_node
from acme_msg.launch.optional import vertex
import cloning
import pytest

_MACHINES = {'data': vertex.Machine(4, 16),
             'learner': vertex.Machine(8, 30, 'v100', 4),
             'evaluator': vertex.Machine(4, 16)}


@pytest.mark.parametrize('fields, message', [
    ((0, 16), '0 CPUs'),
    ((4, 16, 'abacus', 1), 'abacus'),
    ((4, 16, 'v100', 0), "'v100' needs a count")])
def test_refuses_invalid_machines(fields, message):
  with pytest.raises(ValueError, match=message):
    vertex.Machine(*fields)


def test_parses_accelerators():
  assert vertex.parse_accelerator('') == {}
  machine = vertex.Machine(8, 30, **vertex.parse_accelerator('TPU_V3=8'))
  assert (machine.accelerator, machine.count) == ('tpu_v3', 8)
  assert machine.jax_extra == 'tpu'
  with pytest.raises(ValueError, match='NAME=COUNT'):
    vertex.parse_accelerator('v100')


def test_refuses_a_run_that_is_not_in_a_bucket(tmp_path):
  with pytest.raises(ValueError, match='/gcs/BUCKET'):
    vertex.make_program(cloning.make_experiment(str(tmp_path)))


def _run(*command):
  return subprocess.run(command, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True)


def test_dry_run_prints_machines(tmp_path):
  requirements = tmp_path / 'requirements.txt'
  requirements.touch()
  command = [
      sys.executable, '-W', 'ignore', '-m', 'acme_msg.launch.optional.vertex',
      '--dry_run', '--root_dir=/gcs/bucket/run', '--num_learner_hosts=2',
      '--learner_accelerator=v100=4', '--data_ram_gb=64', '--num_steps=10',
      '--eval_every_steps=5']
  done = _run(*command, f'--docker_requirements={requirements}')
  assert done.returncode == 0, done.stdout
  assert done.stdout.count('4 x v100') == 2
  assert done.stdout.count('4 CPUs, 64 GiB') == 1
  assert 'learner/1: trains' in done.stdout
  missing = _run(*command, f'--docker_requirements={tmp_path / "none"}')
  assert missing.returncode == 1
  assert re.search('An installed package has no lock: name a copy of the file '
                   r'requirements.lock from the repository, version \d',
                   missing.stdout)


def test_requirements_are_those_of_the_lock_and_of_the_accelerator(tmp_path):
  lock = tmp_path / 'lock'
  lock.write_text('# All.\nabsl-py==1.4.0 \\\n    --hash=sha256:1 \\\n'
                  '    --hash=sha256:2\njax==0.6.2 \\\n    --hash=sha256:3\n')
  vertex.write_requirements(str(lock), str(tmp_path / 'found'), 'cuda12')
  lines = (tmp_path / 'found').read_text().splitlines()
  assert lines[:3] == ['# All.', 'absl-py==1.4.0', 'jax==0.6.2']
  assert lines[3].startswith('jax[cuda12]==')


def test_copied_code_is_what_a_container_imports(tmp_path):
  own = tmp_path / 'own'
  own.mkdir()
  (own / 'my_experiment.py').write_text(
      'from acme_msg.launch import data_node\n')
  code = tmp_path / 'code'
  vertex.copy_code(str(code), str(own))
  done = subprocess.run(
      [sys.executable, '-W', 'ignore', '-c',
       'import my_experiment; print(my_experiment.data_node.__file__)'],
      cwd=code, stdout=subprocess.PIPE, text=True, check=True)
  assert done.stdout.strip() == str(code / 'acme_msg/launch/data_node.py')
  assert (code / 'acme_msg/experiments/recipes/antmaze.gin').exists()
  assert not (code / 'acme_msg/tests').exists()


def test_data_node_knows_its_machines_name(monkeypatch):
  monkeypatch.setenv('CLUSTER_SPEC', json.dumps({
      'cluster': {'workerpool0': ['learner-host:2222'],
                  'workerpool1': ['other-host:2222', 'data-host:2222']},
      'task': {'type': 'workerpool1', 'index': 1}}))
  assert vertex.own_host() == 'data-host'
  assert issubclass(vertex.DataNode, data_node.DataNode)


def test_needs_xmanager(tmp_path):
  if importlib.util.find_spec('xmanager') is None:
    with pytest.raises(ValueError, match=r'acme_msg\[vertex\]'):
      vertex.make_resources(_MACHINES, os.devnull, None, str(tmp_path))
    return
  resources = vertex.make_resources(
      _MACHINES, os.devnull, None, str(tmp_path))
  assert set(resources) == set(_MACHINES)
  learner = resources['learner'].hw_requirements
  assert str(learner) != str(resources['data'].hw_requirements)
  assert {str(kind): value for kind, value
          in learner.task_requirements.items()}['V100'] == 4
