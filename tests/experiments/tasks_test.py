"""Tests the parts of tasks, and which names are refused."""

import os
import pickle
import shutil

from acme_msg.datasets import pointmaze_generator
from acme_msg.experiments import tasks
import numpy as np
import pytest


def test_embedded_task(pointmaze_file):
  task = tasks.make_task(tasks.TaskConfig(
      'pointmaze', 'pointmaze-umaze-diverse', pointmaze_file))
  task = pickle.loads(pickle.dumps(task))
  data = task.dataset_factory()
  # The last row has no successor, nor have rows before a timeout.
  assert 1900 < len(data.observation) < 2000
  with task.environment_factory(3) as environment:
    assert environment.reset().observation.shape == data.observation.shape[1:]
    assert environment.action_spec().shape == data.action.shape[1:]
  np.testing.assert_array_equal(
      task.score_fn(np.array([0., 1.])), [0., 100.])
  assert task.dataset == 'small.hdf5'
  assert task.identity()['path'] == pointmaze_file


def test_embedded_data_is_identified_once_it_exists(
    tmp_path, pointmaze_file, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path))
  task = tasks.make_task(tasks.TaskConfig('pointmaze', 'pointmaze-umaze'))
  path = pointmaze_generator.dataset_path('pointmaze-umaze')
  known = {'kind': 'pointmaze', 'name': os.path.basename(path), 'path': path}
  assert task.identity() == known  # It is not generated for that.
  shutil.copy(pointmaze_file, path)
  found = task.identity()
  assert {**found, **known} == found
  assert found['size_bytes'] == os.path.getsize(path) and found['digest']


def test_d4rl_files_are_found_by_their_names(antmaze_large_dir, monkeypatch):
  monkeypatch.setenv('D4RL_DATASET_DIR', antmaze_large_dir)
  task = tasks.make_task(
      tasks.TaskConfig('d4rl', 'antmaze-large-diverse-v0'))
  data = task.dataset_factory()
  assert data.observation.shape[1:] == (29,)
  assert data.action.shape[1:] == (8,)
  # The transformed rewards 0 and 1 of AntMaze (docs/msg.md 8.2).
  assert set(data.reward) == {-2., 2.}
  np.testing.assert_array_equal(task.score_fn(np.array([0., 1.])), [0., 100.])


@pytest.mark.parametrize('task_class, task_name, words', [
    ('atari', 'pong', r"--task_class='atari' is not .*'pointmaze', 'd4rl'"),
    ('pointmaze', 'pointmaze-tiny', 'pointmaze-tiny.*pointmaze-umaze'),
    ('pointmaze', 'antmaze-umaze-v2', 'antmaze-umaze-v2.*pointmaze-umaze'),
    ('d4rl', 'antmaze-tiny-v0',
     "'antmaze-tiny-v0' is not a known D4RL task.*--dataset"),
])
def test_unknown_tasks_are_refused(task_class, task_name, words):
  with pytest.raises(ValueError, match=words):
    tasks.make_task(tasks.TaskConfig(task_class, task_name))


def test_task_of_the_other_class_is_refused(pointmaze_file):
  for task_class, task_name, words in (
      ('pointmaze', 'antmaze-umaze-v2', 'no pointmaze task .antmaze-umaze-v2'),
      ('d4rl', 'pointmaze-umaze', 'pointmaze-umaze.*--task_class=pointmaze')):
    with pytest.raises(ValueError, match=words):
      tasks.make_task(tasks.TaskConfig(task_class, task_name, pointmaze_file))


def test_missing_dataset_is_refused():
  with pytest.raises(
      FileNotFoundError,
      match=r"--dataset='/no/such\.hdf5'"):
    tasks.make_task(tasks.TaskConfig(
        'pointmaze', 'pointmaze-umaze', '/no/such.hdf5'))


def test_missing_d4rl_file_is_described(tmp_path, monkeypatch):
  monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path))
  with pytest.raises(FileNotFoundError) as error:
    tasks.make_task(tasks.TaskConfig('d4rl', 'antmaze-umaze-v2'))
  for words in (
      'antmaze-umaze-v2', 'D4RL_DATASET_DIR', '--dataset', str(tmp_path),
      'Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed'):
    assert words in str(error.value)
