"""A small file in D4RL's layout, written by hand, for several tests."""

import h5py
import numpy as np
import pytest


def write(path, columns):
  with h5py.File(path, 'w') as file:
    for name, column in columns.items():
      file.create_dataset(name, data=column)
  return str(path)


@pytest.fixture
def write_hdf5():
  return write


@pytest.fixture
def rows():
  """Episodes: rows 0-1 timeout, 2-3 terminal, 4-6 both, 7-8 neither."""
  return {
      'observations': np.array(
          [[0., .5], [1., .5], [2., .5], [3., .5], [4., .5], [5., .5],
           [6., .5], [7., .5], [8., .5]]),
      'actions': np.array(
          [[.0], [.1], [.2], [.3], [.4], [.5], [.6], [.7], [.8]]),
      'rewards': np.array([0., 0., 0., 1., 0., 0., 1., 0., 0.]),
      'terminals': np.array([0, 0, 0, 1, 0, 0, 1, 0, 0], dtype=bool),
      'timeouts': np.array([0, 1, 0, 0, 0, 0, 1, 0, 0], dtype=bool),
  }


@pytest.fixture
def path(tmp_path, rows):
  return write(tmp_path / 'rows.hdf5', rows)
