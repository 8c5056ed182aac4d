"""Tests of the D4RL reader: the transitions of a file."""

from acme_msg.datasets import d4rl
from acme_msg.datasets import d4rl_tasks
import h5py
import numpy as np
import pytest
import reading


def _leaves(transition):
  return (*transition[:5], transition.extras['next_action'])


def test_hand_made_file_gives_exactly_these_transitions(path):
  found = reading.load_d4rl(path, 'antmaze-umaze-v2')

  h = .5
  expected = (
      [[0, h], [2, h], [3, h], [4, h], [5, h], [7, h]],
      [[0], [.2], [.3], [.4], [.5], [.7]],
      [-2, -2, 2, -2, -2, -2],
      [1, 1, 0, 1, 1, 1],
      # The observation after an end is not in the file and has no effect.
      [[1, h], [3, h], [0, 0], [5, h], [6, h], [8, h]],
      [[.1], [.3], [.3], [.5], [.6], [.8]])
  for leaf, value in zip(_leaves(found), expected):
    np.testing.assert_array_equal(leaf, np.array(value, np.float32))
    assert leaf.dtype == np.float32
    assert leaf.flags.c_contiguous


@pytest.mark.parametrize('task_name, transform, expected', [
    ('antmaze-umaze-v2', 'none', [0, 0, 1, 0, 0, 0]),
    ('pointmaze-large-diverse', 'auto', [-2, -2, 2, -2, -2, -2]),
    ('hopper-medium-v2', 'auto', [0, 0, 1, 0, 0, 0]),
    ('maze2d-umaze-v1', 'auto', [0, 0, 1, 0, 0, 0]),
    ('hopper-medium-v2', 'antmaze', [-2, -2, 2, -2, -2, -2]),
])
def test_reward_transform(path, task_name, transform, expected):
  found = reading.load_d4rl(path, task_name, reward_transform=transform)
  np.testing.assert_array_equal(found.reward, np.array(expected, np.float32))


def test_unknown_reward_transform_is_refused_before_the_file_is_read():
  with pytest.raises(ValueError, match="'squash'.*auto, none, antmaze"):
    reading.load_d4rl(
        '/nowhere.hdf5', 'antmaze-umaze-v2', reward_transform='squash')


def test_column_vectors_of_flags_and_rewards_are_accepted(
    tmp_path, rows, path, write_hdf5):
  tall = dict(rows)
  for name in ('rewards', 'terminals', 'timeouts'):
    tall[name] = rows[name][:, None].astype(np.uint8)
  other = write_hdf5(tmp_path / 'tall.hdf5', tall)

  for a, b in zip(_leaves(reading.load_d4rl(path, 'antmaze-umaze-v2')),
                  _leaves(reading.load_d4rl(other, 'antmaze-umaze-v2'))):
    np.testing.assert_array_equal(a, b)


def _kept_rows(terminals, timeouts, limit):
  """Returns the rows that D4RL keeps, by its loop over rows."""
  kept = []
  count = 0
  for i in range(len(terminals) - 1):
    cut = count == limit - 1 if timeouts is None else timeouts[i]
    if cut:
      count = 0
      continue
    if terminals[i]:
      count = 0
    kept.append(i)
    count += 1
  return kept


@pytest.mark.parametrize('with_timeouts', [False, True])
@pytest.mark.parametrize('limit', [1, 2, 3, 7])
@pytest.mark.parametrize('ends', [0., .05, .3])
def test_rows_are_dropped_as_by_the_row_by_row_rule(
    tmp_path, write_hdf5, with_timeouts, limit, ends):
  rng = np.random.default_rng(limit)
  size = 200
  terminals = rng.random(size) < ends
  timeouts = rng.random(size) < .1 if with_timeouts else None
  columns = {
      'observations': np.arange(size)[:, None], 'actions': np.zeros((size, 1)),
      'rewards': np.arange(size), 'terminals': terminals}
  if with_timeouts:
    columns['timeouts'] = timeouts
  path = write_hdf5(tmp_path / 'random.hdf5', columns)
  expected = _kept_rows(terminals, timeouts, limit)

  if not expected:
    with pytest.raises(ValueError, match='no transition is left'):
      reading.load_d4rl(path, 'mine', episode_limit=limit)
    return
  found = reading.load_d4rl(path, 'mine', episode_limit=limit)
  np.testing.assert_array_equal(found.observation[:, 0], expected)
  np.testing.assert_array_equal(found.discount, 1 - terminals[expected])


def test_steps_are_episodes_with_a_dummy_step_after_each_end(path):
  steps = d4rl.D4rlSource(path, 'antmaze-umaze-v2').load_steps()

  np.testing.assert_array_equal(
      steps.observation[:, 0], [0, 1, 2, 3, 0, 4, 5, 6, 7, 8])
  np.testing.assert_array_equal(
      steps.is_first, np.array([1, 0, 1, 0, 0, 1, 0, 0, 1, 0], bool))
  np.testing.assert_array_equal(
      steps.is_last, np.array([0, 1, 0, 0, 1, 0, 0, 1, 0, 1], bool))
  np.testing.assert_array_equal(
      steps.is_terminal, np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0], bool))
  np.testing.assert_array_equal(
      steps.discount, [1, 1, 1, 0, 0, 1, 1, 1, 1, 1])
  np.testing.assert_array_equal(
      steps.reward, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0])


@pytest.mark.parametrize('task_name, limit', [
    ('antmaze-umaze-v0', 700), ('antmaze-umaze-diverse-v2', 700),
    ('antmaze-large-play-v0', 1000), ('halfcheetah-medium-v0', 1000),
    ('ant-random-v0', 1000), ('maze2d-umaze-v1', 300),
    ('maze2d-medium-dense-v1', 600), ('maze2d-large-v1', 800),
    ('kitchen-mixed-v0', 280), ('pen-human-v0', 100), ('door-cloned-v0', 200)])
def test_episode_limits(task_name, limit):
  assert d4rl_tasks.episode_limit(task_name) == limit


@pytest.mark.parametrize('task_name, name', [
    ('antmaze-umaze-v0', 'Ant_maze_u-maze_noisy_multistart_False_multigoal_'
     'False_sparse.hdf5'),
    ('antmaze-large-diverse-v2', 'Ant_maze_hardest-maze_noisy_multistart_True_'
     'multigoal_True_sparse_fixed.hdf5'),
    ('antmaze-medium-play-v2', 'Ant_maze_big-maze_noisy_multistart_True_'
     'multigoal_False_sparse_fixed.hdf5'),
    ('maze2d-large-v1', 'maze2d-large-sparse-v1.hdf5'),
    ('walker2d-medium-replay-v0', 'walker_mixed.hdf5'),
    ('halfcheetah-medium-expert-v2', 'halfcheetah_medium_expert-v2.hdf5'),
    ('kitchen-complete-v0',
     'mini_kitchen_microwave_kettle_light_slider-v0.hdf5'),
    ('pen-cloned-v0', 'pen-demos-v0-bc-combined.hdf5')])
def test_finds_files_under_their_names(
    tmp_path, monkeypatch, rows, write_hdf5, task_name, name):
  monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path))
  expected = write_hdf5(tmp_path / name, rows)
  assert d4rl.find(task_name) == expected


def test_missing_file_says_where_and_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path))
  with pytest.raises(FileNotFoundError) as error:
    d4rl.find('hopper-medium-v2')
  for part in (str(tmp_path), 'hopper_medium-v2.hdf5', 'D4RL_DATASET_DIR',
               '--dataset', 'gym_mujoco_v2/hopper_medium-v2.hdf5'):
    assert part in str(error.value)


def test_unknown_task_lists_the_known_ones():
  with pytest.raises(ValueError, match='antmaze-hug.*antmaze-umaze-v0'):
    d4rl.find('antmaze-huge-v2')


def test_compressed_float64_file_is_read(tmp_path, rows, path):
  other = str(tmp_path / 'compressed.hdf5')
  with h5py.File(other, 'w') as file:
    for name, column in rows.items():
      file.create_dataset(name, data=column, compression='gzip')
    file.create_dataset('infos/goal', data=np.full((9, 2), np.nan))
  for a, b in zip(_leaves(reading.load_d4rl(path, 'hopper-medium-v2')),
                  _leaves(reading.load_d4rl(other, 'hopper-medium-v2'))):
    np.testing.assert_array_equal(a, b)
