"""Small datasets, written by hand or with the libraries, for several tests."""

import functools
import pathlib
import sys

from acme_msg import datasets
import h5py
import numpy as np
import pytest

# Several tests import `writing`.
sys.path.append(str(pathlib.Path(__file__).parent))


def write(path, columns, **options):
  with h5py.File(path, 'w') as file:
    for name, column in columns.items():
      file.create_dataset(name, data=column, **options)
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


@pytest.fixture(scope='session')
def episodes():
  """Episodes of 1 to 12 actions, with all observations; every third ends."""
  rng = np.random.default_rng(0)
  made = []
  for index, length in enumerate([5, 3, 1, 12, 4, 7, 2, 6, 1]):
    made.append({
        'observations': rng.standard_normal((length + 1, 5)).astype(np.float32),
        'actions': rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        'rewards': rng.standard_normal(length).astype(np.float32),
        'terminated': index % 3 == 1})
  return made


@pytest.fixture(scope='session')
def stored(tmp_path_factory, episodes):  # pylint: disable=redefined-outer-name
  """Returns the source of the episodes by format; each is written once."""
  @functools.lru_cache
  def find(kind):
    # Imported here because importing TensorFlow takes seconds.
    import writing  # pylint: disable=g-import-not-at-top
    folder = tmp_path_factory.mktemp('stored')
    with pytest.MonkeyPatch.context() as patch:
      patch.setenv('MINARI_DATASETS_PATH', str(folder / 'minari'))
      patch.setenv('TFDS_DATA_DIR', str(folder / 'tfds'))
      return datasets.find(writing.WRITERS[kind](folder, episodes))
  return find


@pytest.fixture
def nested(episodes):  # pylint: disable=redefined-outer-name
  """The same with nested observations; flattened they are in this order."""
  return [{
      **episode,
      'observations': {
          'b': {'z': episode['observations'][:, 4],
                'a': episode['observations'][:, 2:4].astype(np.float64)},
          'a': episode['observations'][:, :2].reshape(-1, 2, 1)},
  } for episode in episodes]

