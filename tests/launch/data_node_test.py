"""Tests of runs on streamed data."""

import os
import re
import signal
import threading

from acme.utils import counting
from acme.utils import loggers
from acme_msg.launch import calls
from acme_msg.launch import checkpointing
from acme_msg.launch import data_node
from acme_msg.launch import evaluations
from acme_msg.launch import experiment_config
from acme_msg.launch import local
from acme_msg.launch import shutdown
import cloning
import jax
import numpy as np
import programs
import pytest


def _state(root_dir):
  """Returns the final state of a run."""
  experiment = cloning.make_streamed_experiment(root_dir)
  spec = experiment.environment_spec()
  learner = experiment.builder.make_learner(
      jax.random.PRNGKey(7), experiment.network_factory(spec),
      cloning.load_dataset(), lambda *_, **__: loggers.NoOpLogger(), spec)
  manager = checkpointing.CheckpointManager(root_dir)
  assert manager.restore(learner, counting.Counter()) == 40
  return learner.save(), manager.restore_position()


@pytest.fixture(name='reference', scope='module')
def _reference(tmp_path_factory):
  """Returns state and directory of an uninterrupted run in one process."""
  root_dir = str(tmp_path_factory.mktemp('reference'))
  local.run_local(cloning.make_streamed_experiment(root_dir))
  return (*_state(root_dir), root_dir)


def _assert_same(root_dir, reference):
  state, position = _state(root_dir)
  jax.tree.map(np.testing.assert_array_equal, state, reference[0])
  assert position == reference[1]


def test_position_is_saved(reference):
  # 40 batches of 16 of 500 transitions: one epoch and 140 transitions.
  assert reference[1] == {
      'epoch': 1, 'row': 140, 'num_transitions': 500, 'seed': 3,
      'num_shards': 1}


def test_resumed_run_goes_on_in_the_data(reference, tmp_path):
  local.run_local(cloning.make_streamed_experiment(str(tmp_path), num_steps=4))
  local.run_local(cloning.make_streamed_experiment(str(tmp_path)))
  _assert_same(str(tmp_path), reference)


def test_whole_dataset_streams_like_blocks(reference, tmp_path):
  local.run_local(cloning.make_streamed_experiment(
      str(tmp_path), dataset_factory=cloning.load_dataset))
  _assert_same(str(tmp_path), reference)


def test_processes_equal_one_process(reference, tmp_path):
  """Also if one evaluator is killed and the other one is stopped."""
  root_dir = str(tmp_path / 'run')
  with programs.Program(
      [cloning.__file__, 'local_mp', root_dir, 'stream=1', 'num_evaluators=2',
       'env_delay=0.2', 'stopped_secs=2'], tmp_path / 'output') as program:
    program.wait_until(lambda: evaluations.load(root_dir))
    pids = dict(re.findall(r'(evaluator/.) [(]pid (\d+)', program.output()))
    os.kill(int(pids['evaluator/0']), signal.SIGKILL)
    os.kill(int(pids['evaluator/1']), signal.SIGSTOP)
    code, output = program.wait()
  assert code == 0, output
  assert 'evaluator/0 was killed by SIGKILL' in output
  assert 'evaluator/1 failed: it is stopped by a signal since' in output
  assert output.count('; started again (pid') == 2
  assert 'streaming from epoch 0 to learner host 0' in output
  assert 'Finished at gradient step 40' in output
  # Launchpad and Reverb leave no lines of their own.
  assert 'Waiting for workers' not in output
  assert 'reverb/cc' not in output
  _assert_same(root_dir, reference)
  evaluated = evaluations.load(root_dir)
  assert list(evaluated) == [10, 20, 30, 40]
  for step, result in evaluations.load(reference[2]).items():
    np.testing.assert_array_equal(result.returns, evaluated[step].returns)


def test_data_of_another_shape_is_refused(tmp_path):
  def wide():
    yield cloning.load_dataset(size=2)

  with pytest.raises(ValueError, match='observations of shape \\(2,\\)'):
    local.run_local(cloning.make_streamed_experiment(
        str(tmp_path), dataset_factory=wide))


@pytest.mark.parametrize('options, message', [
    (dict(), 'stream.transitions_per_step must be given'),
    (dict(shuffle_buffer=0), 'shuffle_buffer must be a positive integer'),
    (dict(transitions_per_step=0.5), 'transitions_per_step must be a pos')])
def test_bad_settings_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    cloning.make_experiment(
        'run', stream=experiment_config.StreamConfig(**options))


def test_long_reading_is_reported(capsys, monkeypatch):
  monkeypatch.setattr(data_node, '_REPORT_EVERY', 0.)
  assert data_node.make_store(
      cloning.load_blocks(), threading.Event()).num_transitions() == 500
  assert '400 transitions read so far' in capsys.readouterr().out


def test_reading_ends_when_the_program_does():
  stop = threading.Event()
  stop.set()
  with pytest.raises(shutdown.Stopped):
    data_node.make_store(cloning.load_blocks(), stop)
  # A node that was reading ends without an error.
  calls.Node(
      data_node.make_store, cloning.load_blocks(), stop, secret='secret').run()
