"""Tests whole runs: in one process, in threads and in real processes."""

import dataclasses
import os
import signal
import socket

from acme.utils import counting
from acme.utils import loggers
from acme_msg.launch import checkpointing
from acme_msg.launch import evaluations
from acme_msg.launch import local
from acme_msg.launch import run_lock
import cloning
import jax
import numpy as np
import programs
import pytest


def _state(root_dir, step):
  """Returns the parameters saved at a gradient step, and the counts."""
  assert checkpointing.latest_step(root_dir) == step
  experiment = cloning.make_experiment(root_dir)
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(7),
      cloning.make_network(experiment.environment_spec()),
      cloning.load_dataset(), lambda label: loggers.NoOpLogger(), None)
  counter = counting.Counter()
  checkpointing.CheckpointManager(root_dir).restore(learner, counter)
  return learner.save(), counter.get_counts()


def _assert_same_run(root_dir, other_dir, step):
  """Asserts that two runs have bit-equal evaluations and states."""
  with np.load(os.path.join(root_dir, 'evaluations.npz')) as found:
    with np.load(os.path.join(other_dir, 'evaluations.npz')) as wanted:
      assert set(found) == {'steps', 'returns', 'lengths', 'scores'}
      for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
  state, counts = _state(root_dir, step)
  jax.tree_util.tree_map(
      np.testing.assert_array_equal, state, _state(other_dir, step)[0])
  assert counts['learner_steps'] == step


def _launch(launch_type, root_dir, output, **settings):
  """Starts `cloning.py` as a program."""
  return programs.Program(
      [cloning.__file__, launch_type, root_dir,
       *(f'{name}={value}' for name, value in settings.items())], output)


@pytest.fixture(name='reference', scope='module')
def _reference(tmp_path_factory):
  """Returns the directory of an uninterrupted run in one process."""
  root_dir = str(tmp_path_factory.mktemp('reference'))
  local.run_local(cloning.make_experiment(root_dir))
  return root_dir


def test_one_process_trains_and_evaluates(reference):
  results = evaluations.load(reference)
  assert list(results) == [10, 20, 30, 40]
  for result in results.values():
    assert result.returns.shape == result.scores.shape == (3,)
    np.testing.assert_array_equal(result.lengths, 10)
    np.testing.assert_array_equal(
        result.scores, 100 * (result.returns + 10) / 10)
  assert results[40].returns.mean() > results[10].returns.mean() + 1
  _, counts = _state(reference, 40)
  assert counts['learner_steps'] == 40


def test_evaluations_of_equal_weights_and_step_are_equal(reference, tmp_path):
  other = str(tmp_path)
  local.run_local(cloning.make_experiment(
      other, num_steps=2, eval_every_steps=1))
  ours, theirs = evaluations.load(other)[10], evaluations.load(reference)[10]
  np.testing.assert_array_equal(ours.returns, theirs.returns)


def test_finished_run_says_so_and_stays(reference, capsys):
  path = os.path.join(reference, 'evaluations.npz')
  before = os.stat(path).st_mtime_ns
  local.run_local(cloning.make_experiment(reference))
  local.launch(cloning.make_experiment(reference))  # Starts no process.
  assert capsys.readouterr().out.count('is finished already') == 2
  assert os.stat(path).st_mtime_ns == before


def test_longer_run_continues(reference, tmp_path):
  root_dir = str(tmp_path)
  short = cloning.make_experiment(root_dir, num_steps=4)
  local.run_local(short)
  assert list(evaluations.load(root_dir)) == [10, 20]
  local.run_local(dataclasses.replace(short, num_steps=8))
  _assert_same_run(root_dir, reference, 40)


def test_other_settings_are_refused(reference):
  with pytest.raises(ValueError) as error:
    local.launch(cloning.make_experiment(reference, seed=4, num_steps=2))
  assert 'seed: the run has 3, asked for 4' in str(error.value)
  assert 'num_steps: the run has 8, asked for 2' in str(error.value)
  assert 'episodes' not in str(error.value)


def test_threads_equal_one_process(reference, tmp_path):
  root_dir = str(tmp_path / 'run')
  with _launch('local_mt', root_dir, tmp_path / 'output') as program:
    code, output = program.wait()
  assert code == 0, output
  _assert_same_run(root_dir, reference, 40)


def test_killed_runs_resume_to_the_same_end(reference, tmp_path, monkeypatch):
  root_dir = str(tmp_path / 'run')
  temporary = tmp_path / 'tmp'
  temporary.mkdir()
  monkeypatch.setenv('TMPDIR', str(temporary))

  def wait_for_checkpoint(after, program):
    program.wait_until(
        lambda: (checkpointing.latest_step(root_dir) or 0) > after)

  # The launcher is killed: its nodes do not outlive it.
  with _launch('local_mp', root_dir, tmp_path / 'output', delay=1.,
               num_evaluators=2) as program:
    wait_for_checkpoint(0, program)
    with monkeypatch.context() as here:
      here.setattr(run_lock, '_PATIENCE', 0.)
      learner = program.learner().pid
      with pytest.raises(ValueError, match=(
          rf'pid {learner} \(started by pid {program.pid}\)')):
        local.launch(cloning.make_experiment(root_dir))
    os.kill(program.pid, signal.SIGKILL)
    run_lock.check(root_dir)  # Waits for the learner, which ends, too.
    code, _ = program.wait()
  assert code == -signal.SIGKILL
  first = checkpointing.latest_step(root_dir)
  assert first < 40
  assert len(os.listdir(temporary)) == 1
  # A node is killed: the others end, too.
  with _launch('local_mp', root_dir, tmp_path / 'output',
               delay=1.) as program:
    wait_for_checkpoint(first, program)
    program.learner().kill()
    code, output = program.wait()
  assert code == 1
  assert f'Resumed at gradient step {first}' in output
  owner = f'host {socket.gethostname()}, pid {learner} '
  assert f'ended without notice: {owner}' in output
  assert 'the node learner/0 was killed by SIGKILL' in output
  assert checkpointing.latest_step(root_dir) < 40
  assert not os.listdir(temporary)
  # One process finishes the run.
  local.run_local(cloning.make_experiment(root_dir))
  _assert_same_run(root_dir, reference, 40)


@pytest.mark.parametrize('launch_type, number', [
    ('local_mt', signal.SIGTERM), ('local_mp', signal.SIGINT)])
def test_stopped_run_saves_with_its_pending_evaluations(
    reference, tmp_path, launch_type, number):
  root_dir = str(tmp_path / 'run')
  # An evaluation takes a minute, so that two are pending at step 30.
  with _launch(launch_type, root_dir, tmp_path / 'output',
               env_delay=2.) as program:
    program.wait_until(lambda: checkpointing.latest_step(root_dir) == 20)
    os.killpg(program.pid, number)  # As a terminal and a scheduler do.
    code, output = program.wait()
  assert code == 1
  assert 'The program was stopped' in output
  step = checkpointing.latest_step(root_dir)
  assert f'Stopped and saved at gradient step {step}' in output
  pending = checkpointing.CheckpointManager(root_dir).restore_pending()
  assert list(pending) == list(range(10, step, 10))
  assert not evaluations.load(root_dir)
  local.run_local(cloning.make_experiment(root_dir))
  _assert_same_run(root_dir, reference, 40)


def test_unreadable_data_ends_the_program(tmp_path):
  with _launch('local_mp', str(tmp_path / 'run'), tmp_path / 'output',
               fault='no-such-maze') as program:
    code, output = program.wait()
  assert code == 1
  assert 'ValueError: no-such-maze' in output
  assert not (tmp_path / 'run').exists()
