"""Tests that a run in one process survives signals, damage and lost files."""

import dataclasses
import os
import shutil
import signal

from acme.utils import counting
from acme.utils import loggers
from acme_msg.launch import checkpointing
from acme_msg.launch import evaluations
from acme_msg.launch import local
import cloning
import jax
import numpy as np
import pytest


def _state(root_dir):
  """Returns the last checkpoint's gradient step and state."""
  experiment = cloning.make_experiment(root_dir)
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(7),
      cloning.make_network(experiment.environment_spec()),
      cloning.load_dataset(), lambda label: loggers.NoOpLogger(), None)
  step = checkpointing.CheckpointManager(root_dir).restore(
      learner, counting.Counter())
  return step, learner.save()


@pytest.fixture(name='reference', scope='module')
def _reference(tmp_path_factory):
  """Returns the directory of a run that nothing happened to."""
  root_dir = tmp_path_factory.mktemp('reference')
  local.run_local(cloning.make_experiment(str(root_dir)))
  return root_dir


def _assert_same(root_dir, reference):
  """Asserts bit-equal evaluations and final states."""
  with np.load(root_dir / 'evaluations.npz') as found:
    with np.load(reference / 'evaluations.npz') as wanted:
      assert set(found) == set(wanted)
      for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])
  jax.tree_util.tree_map(np.testing.assert_array_equal, _state(str(root_dir)),
                         _state(str(reference)))


class _Point(cloning.Point):
  """Sends signals to its process in the second step of each episode."""

  def __init__(self, seed, signals):
    super().__init__(seed)
    self._signals = signals

  def step(self, action):
    if self._time == 1:
      for number in self._signals:
        os.kill(os.getpid(), number)
    return super().step(action)


def _make_stopped_experiment(root_dir, signals, at=2):
  """Returns an experiment that is stopped within its evaluation `at`."""
  made = []

  def make_environment(seed):
    made.append(seed)
    # The first one is made for its specs, the second one for the learner's.
    return _Point(seed, signals if len(made) == at + 2 else ())

  return dataclasses.replace(
      cloning.make_experiment(str(root_dir)),
      environment_factory=make_environment)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signal_within_an_evaluation_saves_and_the_rest_is_equal(
    reference, tmp_path, number, capsys):
  handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  # No checkpoint is due before the end.
  experiment = dataclasses.replace(
      _make_stopped_experiment(tmp_path, [number]), checkpoint_every_steps=8)
  with pytest.raises(local.ProgramError, match='was stopped. Run the same'):
    local.run_local(experiment)
  assert 'Stopped and saved at gradient step 20' in capsys.readouterr().out
  assert checkpointing.latest_step(str(tmp_path)) == 20
  assert list(evaluations.load(str(tmp_path))) == [10]
  assert handlers == [
      signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  local.run_local(cloning.make_experiment(str(tmp_path)))
  _assert_same(tmp_path, reference)


def test_second_signal_ends_at_once_and_the_rest_is_equal(reference, tmp_path):
  with pytest.raises(local.ProgramError):
    local.run_local(_make_stopped_experiment(
        tmp_path, [signal.SIGINT, signal.SIGINT]))
  local.run_local(cloning.make_experiment(str(tmp_path)))
  _assert_same(tmp_path, reference)


def test_signal_while_data_is_read_ends_at_once(tmp_path):
  def load():
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError('not reached')

  with pytest.raises(local.ProgramError):
    local.run_local(dataclasses.replace(
        cloning.make_experiment(str(tmp_path)), dataset_factory=load))
  assert checkpointing.latest_step(str(tmp_path)) is None


def test_damaged_checkpoint_is_kept_and_the_one_before_is_used(
    reference, tmp_path, capsys):
  local.run_local(cloning.make_experiment(str(tmp_path), num_steps=4))
  newest = tmp_path / 'checkpoints' / '20'
  [largest] = list((newest / 'learner' / 'd').iterdir())
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 4
  largest.write_bytes(content)
  capsys.readouterr()
  local.run_local(cloning.make_experiment(str(tmp_path)))
  output = capsys.readouterr().out
  assert f'damaged: {largest.relative_to(newest)} does not hold' in output
  assert 'Resumed at gradient step 10' in output
  kept = tmp_path / 'checkpoints' / 'damaged-20'
  assert (kept / largest.relative_to(newest)).read_bytes() == content
  _assert_same(tmp_path, reference)


def test_lost_evaluations_are_named_and_are_no_endless_loop(
    reference, tmp_path, capsys):
  run = tmp_path / 'run'
  shutil.copytree(reference, run)
  (run / 'evaluations.npz').unlink()
  experiment = cloning.make_experiment(str(run))
  local.run_local(experiment)
  output = capsys.readouterr().out
  assert 'lacks the evaluations of the gradient steps 10, 20, 30' in output
  [(step, found)] = evaluations.load(str(run)).items()
  wanted = evaluations.load(str(reference))[step]
  np.testing.assert_array_equal(found.returns, wanted.returns)
  local.run_local(experiment)
  assert 'finished already' in capsys.readouterr().out


def test_lost_checkpoints_are_refused(reference, tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(reference, run)
  shutil.rmtree(run / 'checkpoints')
  with pytest.raises(ValueError, match='step 40, but no checkpoint. Put the'):
    local.run_local(cloning.make_experiment(str(run)))
  assert list(evaluations.load(str(run))) == [10, 20, 30, 40]


@pytest.mark.parametrize('name', ['evaluations.npz', 'config.json'])
@pytest.mark.parametrize('damage', [b'', b'\xff\x00{', b'[1]'])
def test_damaged_file_is_refused_by_name(reference, tmp_path, name, damage):
  run = tmp_path / 'run'
  shutil.copytree(reference, run)
  (run / name).write_bytes(damage)
  before = sorted(run.rglob('*'))
  for start in (local.run_local, local.launch):
    with pytest.raises(ValueError, match=f'{run / name}.* is damaged'):
      start(cloning.make_experiment(str(run)))
  assert sorted(run.rglob('*')) == before
  assert (run / name).read_bytes() == damage
