"""Tests a pod of two hosts on this machine: the same command for each."""

import os
import signal

from acme.utils import counting
from acme.utils import loggers
from acme_msg.launch import checkpointing
from acme_msg.launch import evaluations
from acme_msg.launch import local
import jax
import maze
import numpy as np
import portpicker
import programs


def _start(root_dir, outputs):
  """Starts the two hosts, and returns them."""
  port = portpicker.pick_unused_port()
  return [programs.Program(
      ['-m', 'acme_msg.launch.pod', '--experiment=maze_flags:make_experiment',
       f'--directory={root_dir}', f'--coordinator_address=localhost:{port}',
       '--num_processes=2', f'--process_id={index}'], output)
          for index, output in enumerate(outputs)]


def _state(root_dir):
  """Returns the state of a run's last checkpoint."""
  experiment = maze.make_experiment(root_dir)
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(0),
      experiment.network_factory(experiment.environment_spec()),
      experiment.dataset_factory(), lambda *_, **__: loggers.NoOpLogger(), None)
  checkpointing.CheckpointManager(root_dir).restore(learner, counting.Counter())
  return learner.save()


def test_stopped_pod_resumes_and_equals_one_process(tmp_path, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  reference = str(tmp_path / 'reference')
  local.run_local(maze.make_experiment(reference))
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv(
      'XLA_FLAGS', '--xla_force_host_platform_device_count=2')

  # One host is told to stop: both do, and save.
  root_dir = str(tmp_path / 'run')
  outputs = [tmp_path / 'host0', tmp_path / 'host1']
  first, second = _start(root_dir, outputs)
  with first, second:
    first.wait_until(lambda: checkpointing.latest_step(root_dir))
    os.kill(second.pid, signal.SIGTERM)
    results = [first.wait(), second.wait()]
  for code, output in results:
    assert code == 1
    assert 'error: The program was stopped' in output, output
  step = checkpointing.latest_step(root_dir)
  assert 0 < step < 80
  assert 'learner host 0 of 2' in results[0][1]
  assert 'learner host 1 of 2' in results[1][1]

  # The same commands go on from there to the end.
  first, second = _start(root_dir, outputs)
  with first, second:
    results = [first.wait(), second.wait()]
  assert [code for code, _ in results] == [0, 0], results
  assert f'Resumed at gradient step {step}' in results[0][1]
  assert checkpointing.latest_step(root_dir) == 80
  found, wanted = evaluations.load(root_dir), evaluations.load(reference)
  assert list(found) == list(wanted)
  # Sums over devices round in another order.
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
      _state(root_dir), _state(reference))
