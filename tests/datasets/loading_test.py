"""Tests of the options on data; sources_test.py has those of each format."""

import logging

from acme_msg import datasets
from acme_msg.datasets import d4rl
from acme_msg.datasets import data_options
from acme_msg.datasets import episodes as episodes_lib
from acme_msg.datasets import rewards
from acme_msg.datasets import rlds
from acme_msg.datasets import steps as steps_lib
import numpy as np
import pytest


@pytest.mark.parametrize('options, message', [
    (dict(reward_transform='squash'), "reward_transform='squash'.*auto, none"),
    (dict(num_episodes=0), 'num_episodes=0: .*at least 1'),
    (dict(top_fraction=0.), r'top_fraction=0.0: .*\(0, 1\]'),
    (dict(top_fraction=1.5), 'top_fraction=1.5'),
    (dict(n_step=0), 'n_step=0'),
    (dict(split='train'), r"split='train'.*\[:80%\]"),
    (dict(split='[:120%]'), "split='\\[:120%\\]'"),
    (dict(split='[-5:]'), "split='\\[-5:\\]'")])
def test_invalid_options_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    datasets.DataOptions(**options)


@pytest.mark.parametrize('options, message', [
    (dict(num_episodes=10), 'num_episodes=10, but there are only 9 episodes'),
    (dict(split='[:3]', num_episodes=4), r'only 3 episodes in split=\[:3\]'),
    (dict(split='[9:12]'), 'episodes 9 to 12 .*of 9'),
    (dict(split='[5:20]'), 'episodes 5 to 20 .*of 9'),
    (dict(split='[:5%]'), 'episodes 0 to 0 .*of 9')])
def test_options_that_the_data_cannot_fulfil_are_named(
    episodes, options, message):
  source = datasets.from_episodes(episodes)
  with pytest.raises(ValueError, match=message):
    datasets.load(source, '', datasets.DataOptions(**options))
  with pytest.raises(ValueError, match=message):
    next(datasets.transition_blocks(
        source, '', datasets.DataOptions(**options), num_rows=5))


@pytest.mark.parametrize('cuts', [(30,), (20, 77), (33, 50, 90)])
def test_parts_by_percent_leave_nothing_out(cuts):
  found = data_options.Episodes(np.zeros(7), np.ones(7))
  bounds = ['', *(f'{cut}%' for cut in cuts), '']
  parts = [data_options.choose(datasets.DataOptions(split=f'[{a}:{b}]'), found)
           for a, b in zip(bounds, bounds[1:])]
  np.testing.assert_array_equal(np.concatenate(parts), np.arange(7))


def test_best_episodes_of_equal_ones_are_the_first():
  found = data_options.Episodes(np.array([1., 3., 2., 3., 2.]), np.ones(5))
  for fraction, expected in (
      (.2, [1]), (.4, [1, 3]), (.6, [1, 2, 3]), (1., range(5)),
      (.41, [1, 2, 3])):
    np.testing.assert_array_equal(data_options.choose(
        datasets.DataOptions(top_fraction=fraction), found), list(expected))


def test_returns_do_not_depend_on_blocks(episodes):
  source = datasets.from_episodes(episodes)
  whole = data_options.summarise(source.blocks())
  assert len(whole.returns) == len(episodes)
  for num_rows in (1, 2, 5, 12):
    found = data_options.summarise(source.blocks(num_rows))
    assert found.returns.tobytes() == whole.returns.tobytes()
    np.testing.assert_array_equal(found.lengths, whole.lengths)


def test_no_more_is_read_than_is_needed(episodes):
  read = []

  class Watched(episodes_lib.EpisodesSource):
    def blocks(self, num_rows=1):
      for steps in super().blocks(num_rows):
        read.append(len(steps.reward))
        yield steps

  source = datasets.from_episodes(episodes)
  source.__class__ = Watched
  list(datasets.transition_blocks(
      source, '', datasets.DataOptions(num_episodes=2), num_rows=1))
  assert sum(read) == 2 * (6 + 4)  # Once for the episodes, once for the data.


@pytest.mark.parametrize('name, expected', [
    ('none', [0, .5, 1]), ('antmaze', [-2, 0, 2]),
    ('subtract_one', [-1, -.5, 0]), ('normalize_return', [0, 125, 250])])
def test_transforms(name, expected):
  reward = np.array([0, .5, 1], np.float32)
  found = rewards.transform(reward, name, '', (-1., 3.))
  np.testing.assert_array_equal(found, expected)
  assert found.dtype == np.float32


def test_rewards_of_other_antmazes_are_not_mistaken():
  with pytest.raises(ValueError, match="'antmaze'.*there is -1; .*'none'"):
    rewards.transform(np.array([0., -1.]), 'auto', 'antmaze-large-navigate-v0')


def test_returns_are_normalised_over_the_episodes_that_are_used(episodes):
  source = datasets.from_episodes(episodes)
  options = dict(reward_transform='normalize_return', split='[2:7]')
  found = datasets.load(source, '', datasets.DataOptions(**options))
  returns = [e['rewards'].sum() for e in episodes[2:7]]
  np.testing.assert_allclose(
      found.reward, 1000 / np.ptp(returns) * np.concatenate(
          [e['rewards'] for e in episodes[2:7]]), rtol=1e-5)
  with pytest.raises(ValueError, match="'normalize_return' divides"):
    datasets.load(source, '', datasets.DataOptions(
        reward_transform='normalize_return', num_episodes=1))


def test_n_step_transitions_stop_at_a_discount_within_an_episode():
  steps = steps_lib.Steps(
      observation=np.arange(6, dtype=np.float32)[:, None],
      action=np.zeros((6, 1), np.float32),
      reward=np.array([1, 2, 4, 8, 16, 32], np.float32),
      discount=np.array([1, 0, 1, .5, 1, 1], np.float32),
      is_first=np.arange(6) == 0, is_last=np.arange(6) == 5,
      is_terminal=np.zeros(6, bool))
  found = steps_lib.to_transitions(steps, n_step=3, discount=.5)
  np.testing.assert_array_equal(found.reward, [2, 2, 4 + 4 + 2, 8 + 4, 16])
  np.testing.assert_array_equal(found.discount, [0, 0, .125, .25, 1])
  np.testing.assert_array_equal(found.next_observation[2:, 0], [5, 5, 5])


@pytest.mark.parametrize('limit', [2, 3, 7])
def test_episode_limit_counts_across_blocks(tmp_path, write_hdf5, limit):
  rng = np.random.default_rng(limit)
  path = write_hdf5(tmp_path / 'v0.hdf5', {
      'observations': np.arange(300)[:, None], 'actions': np.zeros((300, 1)),
      'rewards': np.arange(300), 'terminals': rng.random(300) < .1})
  source = d4rl.D4rlSource(path, episode_limit=limit)
  whole = source.load_steps()
  for num_rows in (1, 13, 100):
    parts = steps_lib.concatenate(source.blocks(num_rows))
    for a, b in zip(whole, parts):
      np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('num_rows', [1, 5, 100])
@pytest.mark.parametrize('defect', [True, False])
def test_false_ends_of_tfds_are_left_out_of_blocks(
    tmp_path, episodes, num_rows, defect, caplog):
  made = []
  for index, episode in enumerate(episodes):
    episode = {name: np.copy(value) for name, value in episode.items()}
    # The false observation; without the defect one episode ends differently.
    if not episode['terminated'] and (defect or index != 6):
      episode['observations'][-1] = 99
    made.append(episode)
  rlds.write(datasets.from_episodes(made).blocks(), str(tmp_path / 'x'))
  source = datasets.find(str(tmp_path / 'x'))
  with caplog.at_level(logging.WARNING, 'absl'):
    steps = steps_lib.concatenate(source.blocks(num_rows))
  # An episode of one step has no true last step.
  left = np.count_nonzero((steps.observation == 99).all(axis=1))
  assert left == (0 if defect else 5)
  assert ('by mistake' in caplog.text) == defect
