"""Tests the picture of a maze."""

from acme import specs
from acme import types
from acme_msg import builders
from acme_msg import networks as networks_lib
from acme_msg.agents import msg
from acme_msg.environments import pointmaze
from acme_msg.experiments import maze_picture
from acme_msg.experiments import plots
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

_TASK = 'pointmaze-umaze-diverse'
_CORNERS = np.array([[8., 0.], [8., 8.], [0., 8.]], np.float32)
_LIMIT = 700  # Steps of an episode there.


def _along_the_corridors(params, key, observation):
  """Goes right, up, and back to the left, where the goal is."""
  del params, key
  position, velocity = observation[:, :2], observation[:, 2:]
  x, y = observation[:, :1], observation[:, 1:2]
  aim = jnp.where(x < 7, jnp.where(y < 4, *_CORNERS[[0, 2]]), _CORNERS[1])
  aim = jnp.where(y > 7, _CORNERS[2], aim)
  return jnp.clip(0.5 * (aim - position) - 0.2 * velocity, -0.5, 0.5)


def _stay(params, key, observation):
  del params, key
  return 0. * observation[:, :2]


@pytest.fixture(scope='module', name='successes')
def _successes():
  return maze_picture.rollouts(_TASK, _along_the_corridors, (), 3, seed=5)


@pytest.fixture(scope='module', name='failures')
def _failures():
  return maze_picture.rollouts(_TASK, _stay, (), 2, seed=5)


def _dataset():
  """Returns steps along the first corridor; the last step is rewarded."""
  x = np.linspace(0, 8, 50, dtype=np.float32)
  observation = np.stack([x, 0 * x, 0 * x, 0 * x], axis=1)
  return types.Transition(
      observation[:-1], np.ones((49, 2), np.float32),
      np.float32(np.arange(49) == 48), np.ones(49, np.float32), observation[1:])


def _config(ensemble_size=3, **options):
  return msg.MSGConfig(
      ensemble_size=ensemble_size, actor_network_hidden_sizes=(8,),
      critic_network_hidden_sizes=(8,), batch_size=8, **options)


def _networks(config):
  spec = specs.make_environment_spec(pointmaze.PointMaze(_TASK))
  return builders.make_msg_networks(spec, config), spec


def _init(networks):
  return [network.init(jax.random.PRNGKey(i))
          for i, network in enumerate(networks)]


def test_rollouts_say_who_reaches_the_goal(successes, failures):
  assert [t.success for t in successes] == [True] * 3
  for trajectory in successes:
    away = np.linalg.norm(trajectory.positions - trajectory.goal, axis=1)
    assert away[-1] <= pointmaze.GOAL_RADIUS < away[:-1].min()
    assert len(away) < _LIMIT
  assert len({tuple(t.goal) for t in successes}) == 3
  assert [t.success for t in failures] == [False] * 2
  for trajectory in failures:
    assert trajectory.positions.shape == (_LIMIT + 1, 2)
    assert np.ptp(trajectory.positions, axis=0).max() < 0.1
  # The seed determines the starts.
  np.testing.assert_array_equal(
      failures[0].positions[0], successes[0].positions[0])


def test_values_are_moments_over_members_of_the_lower_head():
  """Member i has the value i + x, and its second head 10 more."""
  def apply(params, observation, action):
    del params
    np.testing.assert_array_equal(observation.shape, (4, 4))
    base = np.arange(3)[:, None] + observation[:, 0] + 0 * action[:, 0]
    q = jnp.stack([base, base + 10], axis=-1)
    return networks_lib.CriticOutput(q, observation[None])

  policy = networks_lib.make_policy(4, 2, (8,))
  networks = networks_lib.MSGNetworks(policy, networks_lib.CriticEnsemble(
      num_members=3, init=lambda key: (), apply=apply))
  positions = np.array([[[0., 5.], [1., 5.]], [[2., 5.], [3., 5.]]])
  mean, std = maze_picture.values_at_rest(
      networks, policy.init(jax.random.PRNGKey(0)), (), positions)
  np.testing.assert_allclose(mean, [[1, 2], [3, 4]], rtol=1e-6)
  np.testing.assert_allclose(std, np.full((2, 2), np.sqrt(2 / 3)), rtol=1e-6)


def _pixels(path, color):
  """Returns the number of pixels of about this colour."""
  pixels = np.asarray(Image.open(path).convert('RGB')).astype(int)
  wanted = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
  return (abs(pixels - wanted).max(-1) < 40).sum()


def test_successes_and_failures_have_their_colours(
    tmp_path, successes, failures):
  networks, _ = _networks(_config())
  count = {}
  for name, trajectories in (('good', successes), ('bad', failures)):
    path = tmp_path / f'{name}.png'
    maze_picture.draw(str(path), _TASK, networks, *_init(networks),
                      _dataset(), trajectories)
    count[name] = [_pixels(path, color) for color in plots.COLORS[:2]]
  assert count['good'][0] > count['bad'][0] + 500
  assert sorted(p.name for p in tmp_path.iterdir()) == ['bad.png', 'good.png']
