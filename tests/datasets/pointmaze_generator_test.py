"""Tests of the generator of the embedded datasets."""

import os
import subprocess
import sys

from acme_msg.datasets import pointmaze_generator
from acme_msg.environments import pointmaze
import h5py
import numpy as np
import pytest

_TASK = 'pointmaze-umaze-diverse'
_DTYPES = {
    'observations': ((4,), np.float32), 'actions': ((2,), np.float32),
    'rewards': ((), np.float32), 'terminals': ((), bool),
    'timeouts': ((), bool), 'infos/goal': ((2,), np.float32),
    'infos/qpos': ((2,), np.float32), 'infos/qvel': ((2,), np.float32)}


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
  monkeypatch.setenv('ACME_MSG_DATA_DIR', str(tmp_path / 'data'))
  return tmp_path / 'data'


@pytest.fixture(scope='module', params=pointmaze.task_names())
def dataset(request):
  """Returns the name of a task and a dataset of it with 20,010 rows."""
  return request.param, pointmaze_generator.generate(
      request.param, 20_010, seed=1)


def _episodes(arrays):
  """Returns the first and last rows of the episodes, which differ in goals."""
  goals = arrays['infos/goal']
  first = 1 + np.flatnonzero((goals[1:] != goals[:-1]).any(axis=1))
  first = np.append(0, first)
  return first, np.append(first[1:] - 1, len(goals) - 1)


def test_layout(dataset):
  _, arrays = dataset
  assert set(arrays) == set(_DTYPES)
  for name, (shape, dtype) in _DTYPES.items():
    assert arrays[name].shape == (20_010,) + shape
    assert arrays[name].dtype == dtype
    assert np.isfinite(arrays[name]).all()
  np.testing.assert_array_equal(
      arrays['observations'],
      np.concatenate([arrays['infos/qpos'], arrays['infos/qvel']], axis=1))
  assert np.abs(arrays['actions']).max() <= 1


def test_episodes_end_once(dataset):
  task_name, arrays = dataset
  first, last = _episodes(arrays)
  ends = arrays['terminals'] | arrays['timeouts']
  assert ends[last].all()
  assert not (arrays['terminals'] & arrays['timeouts']).any()
  assert set(np.flatnonzero(arrays['timeouts'])) <= set(last)
  assert (arrays['infos/qvel'][first] == 0).all()
  maze = pointmaze.get_task(task_name).maze
  length = pointmaze_generator.EPISODE_STEPS[maze.name]
  assert set((last - first + 1)[:-1]) == {length}


def test_rewards_are_those_of_the_next_position(dataset):
  task_name, arrays = dataset
  maze = pointmaze.get_task(task_name).maze
  goal = maze.to_xy(maze.evaluation_goal)
  _, last = _episodes(arrays)
  inner = np.setdiff1d(np.arange(len(arrays['rewards']) - 1), last)
  distance = np.linalg.norm(arrays['infos/qpos'][inner + 1] - goal, axis=1)
  np.testing.assert_array_equal(arrays['terminals'][inner], distance <= 0.5)
  np.testing.assert_array_equal(arrays['rewards'], arrays['terminals'])
  assert arrays['rewards'].any()
  # Reaching the goal does not end collection: goal rows follow each other.
  terminals = arrays['terminals']
  assert (terminals[:-1] & terminals[1:]).any()


def test_rows_obey_the_physics(dataset):
  task_name, arrays = dataset
  first, last = _episodes(arrays)
  physics = pointmaze.PointMass(pointmaze.get_task(task_name).maze)
  start, end = first[3], last[3]
  observation = physics.reset(arrays['infos/qpos'][start])
  for t in range(start, end):
    observation = physics.step(arrays['actions'][t])
    # The file rounds the start to float32, which contacts may amplify.
    np.testing.assert_allclose(
        observation, arrays['observations'][t + 1], atol=1e-2)


def test_starts_and_goals_follow_the_protocol(dataset):
  task_name, arrays = dataset
  task = pointmaze.get_task(task_name)
  maze = task.maze
  first, _ = _episodes(arrays)
  pairs = [(maze.to_cell(arrays['infos/qpos'][t]),
            maze.to_cell(arrays['infos/goal'][t])) for t in first]
  starts, goals = map(set, zip(*pairs))
  if task.protocol == 'fixed':
    assert set(pairs) == {(maze.start, maze.evaluation_goal)}
    return
  assert (maze.start, maze.evaluation_goal) not in pairs
  assert maze.evaluation_goal in goals
  if task.protocol == 'play':
    assert goals == {maze.start, *maze.data_goals}
  else:
    assert len(goals) > 0.8 * len(maze.free_cells)
  whole = len(maze.shortest_path(maze.start, maze.evaluation_goal)) - 1
  moves = [len(maze.shortest_path(*pair)) - 1 for pair in pairs]
  assert 0 < min(moves) and max(moves) <= 0.8 * whole
  assert len(starts) > 0.8 * len(maze.free_cells)


def test_data_covers_every_free_cell(dataset):
  task_name, arrays = dataset
  maze = pointmaze.get_task(task_name).maze
  visited = {maze.to_cell(position) for position in arrays['infos/qpos']}
  assert visited == set(maze.free_cells)
  speeds = np.linalg.norm(arrays['infos/qvel'], axis=1) / pointmaze.TOP_SPEED
  assert np.quantile(speeds, 0.99) > 0.75 and np.mean(speeds < 0.1) > 0.01


def test_seeds_determine_datasets():
  first = pointmaze_generator.generate(_TASK, 500, seed=5)
  again = pointmaze_generator.generate(_TASK, 500, seed=5)
  other = pointmaze_generator.generate(_TASK, 500, seed=6)
  for name, array in first.items():
    np.testing.assert_array_equal(array, again[name])
  assert not np.array_equal(first['actions'], other['actions'])


def test_ensure_writes_once(data_dir):
  path = pointmaze_generator.ensure(_TASK, 300, seed=2)
  assert path == pointmaze_generator.dataset_path(_TASK, 300, seed=2)
  assert os.listdir(data_dir) == [os.path.basename(path)]
  for part in (_TASK, '-300-', 'seed2', f'v{pointmaze_generator.VERSION}'):
    assert part in os.path.basename(path)
  expected = pointmaze_generator.generate(_TASK, 300, seed=2)
  with h5py.File(path) as file:
    for name, array in expected.items():
      np.testing.assert_array_equal(file[name][()], array)
      assert file[name].dtype == array.dtype
    assert file['metadata/task_name'].asstr()[()] == _TASK
    assert file['metadata/seed'][()] == 2
    np.testing.assert_array_equal(
        file['metadata/evaluation_goal'][()], [0, 8])
  before = os.stat(path)
  assert pointmaze_generator.ensure(_TASK, 300, seed=2) == path
  assert os.stat(path) == before


def test_existing_files_are_kept(tmp_path):
  path = tmp_path / 'mine.hdf5'
  path.write_text('precious')
  with pytest.raises(FileExistsError, match='mine.hdf5 exists'):
    pointmaze_generator.write(str(path), _TASK, 300)
  assert path.read_text() == 'precious'
  assert os.listdir(tmp_path) == ['mine.hdf5']


def test_a_name_taken_meanwhile_is_kept(tmp_path, monkeypatch):
  path = tmp_path / 'mine.hdf5'
  generate = pointmaze_generator.generate
  def slow(*args):
    path.write_text('precious')
    return generate(*args)
  monkeypatch.setattr(pointmaze_generator, 'generate', slow)
  with pytest.raises(FileExistsError):
    pointmaze_generator.write(str(path), _TASK, 300)
  assert path.read_text() == 'precious'
  assert os.listdir(tmp_path) == ['mine.hdf5']


def test_malformed_requests_are_refused(data_dir):
  with pytest.raises(ValueError, match='pointmaze-huge.*pointmaze-umaze'):
    pointmaze_generator.ensure('pointmaze-huge', 300)
  with pytest.raises(ValueError, match='at least 1, found 0'):
    pointmaze_generator.ensure(_TASK, 0)
  assert not data_dir.exists()


def test_command_line(tmp_path):
  path = tmp_path / 'mine.hdf5'
  command = [sys.executable, '-m', 'acme_msg.datasets.pointmaze_generator']
  done = subprocess.run(
      command + [_TASK, '--num_transitions=300', '--seed=4',
                 f'--output={path}'],
      check=True, capture_output=True, text=True)
  assert done.stdout.strip() == str(path)
  with h5py.File(path) as file:
    np.testing.assert_array_equal(
        file['actions'][()],
        pointmaze_generator.generate(_TASK, 300, seed=4)['actions'])
  refused = subprocess.run(
      command + ['pointmaze-huge'], capture_output=True, text=True)
  assert refused.returncode != 0
  assert "no pointmaze task 'pointmaze-huge'" in refused.stderr
