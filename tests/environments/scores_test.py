"""Tests the normalised scores against numbers worked out by hand."""

from acme_msg.environments import scores
import numpy as np
import pytest


@pytest.mark.parametrize('task_name, low, high', [
    ('antmaze-large-diverse-v0', 0., 1.),
    ('antmaze-umaze-v2', 0., 1.),
    ('pointmaze-medium-play', 0., 1.),
    ('halfcheetah-medium-v2', -280.178953, 12135.),
    ('hopper-full-replay-v2', -20.272305, 3234.3),
    ('walker2d-expert-v0', 1.629008, 4592.3),
    ('ant-medium-v2', -325.6, 3879.7),
    ('maze2d-umaze-v1', 23.85, 161.86),
    ('maze2d-umaze-dense-v1', 68.537689, 193.66285642381482),
    ('maze2d-open-v0', 0.01, 20.66),
    ('pen-human-v0', 96.262799, 3076.8331017826877),
    ('hammer-cloned-v1', -274.856578, 12794.134825156867),
    ('door-expert-v1', -56.512833, 2880.5693087298737),
    ('relocate-human-v1', -6.425911, 4233.877797728884),
    ('kitchen-mixed-v0', 0., 4.),
])
def test_the_references_score_0_and_100(task_name, low, high):
  score = scores.normalized_score(task_name, [low, high, (low + high) / 2.])
  np.testing.assert_allclose(score, [0., 100., 50.], atol=1e-9)


@pytest.mark.parametrize('task_name, episode_return, score', [
    ('halfcheetah-medium-v2', 5000., 42.5299),
    ('hopper-medium-v2', 3234.3 + 325.45723, 110.),
    ('kitchen-partial-v0', 3., 75.),
    ('maze2d-large-v1', 6.7 - 26.729, -10.),
])
def test_known_scores(task_name, episode_return, score):
  np.testing.assert_allclose(
      scores.normalized_score(task_name, episode_return), score, atol=1e-3)


def test_keeps_the_shape_and_is_the_success_rate_in_antmaze():
  episodes = np.array([[1., 0.], [1., 1.]], np.float32)
  score = scores.normalized_score('antmaze-medium-play-v2', episodes)
  assert score.shape == (2, 2) and score.dtype == np.float64
  assert score.mean() == 75.


@pytest.mark.parametrize('task_name', [
    'maze2d-umaze-v0', 'cartpole-swingup', 'Ant-v4', 'antmazes-umaze-v2', ''])
def test_no_score_without_references(task_name):
  assert scores.normalized_score(task_name, 1.) is None
