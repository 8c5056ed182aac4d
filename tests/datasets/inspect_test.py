"""Tests of the description of a dataset, and of its picture."""

import subprocess
import sys

from acme_msg import datasets
from acme_msg.datasets import dataset_picture
from acme_msg.datasets import inspect
from acme_msg.environments import mazes
import matplotlib.image
import numpy as np
import pytest
import writing


def test_numbers_are_those_of_the_episodes(episodes):
  class Blocks(type(datasets.from_episodes(episodes))):
    def blocks(self, num_rows=7):
      return super().blocks(7)

  source = datasets.from_episodes(episodes)
  source.__class__ = Blocks
  report = inspect.Report(source)

  for name, columns in (('observations', report.observation),
                        ('actions', report.action)):
    # A learner does not see the observation after an end.
    values = np.concatenate([
        e[name][:-1] if e['terminated'] and name == 'observations' else e[name]
        for e in episodes])
    np.testing.assert_allclose(columns.low, values.min(axis=0))
    np.testing.assert_allclose(columns.high, values.max(axis=0))
    np.testing.assert_allclose(columns.mean, values.mean(axis=0), rtol=1e-4,
                               atol=1e-6)
    np.testing.assert_allclose(columns.std, values.std(axis=0), rtol=1e-4)
  np.testing.assert_array_equal(
      report.episodes.lengths - 1, [len(e['rewards']) for e in episodes])
  np.testing.assert_allclose(
      report.episodes.returns, [e['rewards'].sum() for e in episodes],
      rtol=1e-5)
  assert (report.num_ended, report.num_cut_off) == (3, 6)
  assert not report.rewards  # Too many to list.
  assert not report.warnings


def test_few_rewards_are_counted(path):
  report = inspect.Report(datasets.find(path))
  assert report.rewards == {0: 5, 1: 1}
  assert '0 (5 times), 1 (1 times)' in inspect.to_text(report)
  assert f'digest {report.identity["digest"]}' in inspect.to_text(report)


def test_warnings_of_the_libraries_are_not_of_the_data(tmp_path, episodes):
  path = writing.WRITERS['rlds'](tmp_path, episodes)
  assert not inspect.Report(datasets.find(path)).warnings


def test_warnings_are_collected(rows, tmp_path, write_hdf5):
  rows['rewards'][:] = 1
  rows['terminals'][:] = False
  rows['observations'][:, 1] = 2
  report = inspect.Report(datasets.find(
      write_hdf5(tmp_path / 'odd.hdf5', rows)))
  text = inspect.to_text(report)
  for part in ("* field 'rewards' is 1.0 in all of its 9 rows",
               'observation: constant in the dimensions [1]',
               'No action ends an episode'):
    assert part in text


@pytest.mark.parametrize('name', mazes.MAZES)
def test_the_maze_is_found_from_positions(name):
  maze = mazes.MAZES[name]
  centres = np.array([maze.to_xy(cell) for cell in maze.free_cells])
  noise = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 1, 2))
  assert dataset_picture.find_maze((centres + noise).reshape(-1, 2)) is maze
  assert dataset_picture.find_maze(np.array([[-4., -4.]])) is None


def test_command_prints_and_draws(tmp_path, rows, write_hdf5):
  rng = np.random.default_rng(0)
  centres = [mazes.MAZES['umaze'].to_xy(cell)
             for cell in mazes.MAZES['umaze'].free_cells]
  rows = {name: np.repeat(column, 100, axis=0) for name, column in rows.items()}
  rows['observations'] = np.concatenate([
      np.array(centres)[rng.integers(len(centres), size=900)]
      + rng.uniform(-1, 1, (900, 2)), rng.standard_normal((900, 2))], axis=1)
  path = write_hdf5(tmp_path / 'antmaze.hdf5', rows)
  command = [sys.executable, '-m', 'acme_msg.datasets.inspect', path,
             '--output', str(tmp_path / 'picture.png')]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert 'observation (4)' in done.stdout and 'picture.png' in done.stdout
  picture = matplotlib.image.imread(tmp_path / 'picture.png')
  walls = np.isclose(picture[..., :3], .35, atol=.01).all(axis=-1)
  assert .05 < walls.mean() < .3
  again = subprocess.run(command, capture_output=True, text=True, check=False)
  assert again.returncode == 1 and 'picture.png exists' in again.stderr
