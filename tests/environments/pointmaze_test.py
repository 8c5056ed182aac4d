"""Tests of the mazes and the point mass."""

from acme_msg import environments
from acme_msg.environments import mazes
from acme_msg.environments import pointmaze
import dm_env
import numpy as np
import pytest

# Worked out by hand: number of free cells, moves from the start to the goal of
# evaluation, that goal, number of data goals.
_FACTS = {
    'umaze': (7, 6, (3, 1), 3),
    'medium': (26, 10, (6, 6), 4),
    'large': (46, 14, (7, 9), 7),
}


def _push(physics, force, steps):
  return np.stack([physics.step(np.array(force)) for _ in range(steps)])


def _drive(environment, action_of):
  """Runs one episode; returns its time steps, including the reset."""
  steps = [environment.reset()]
  while not steps[-1].last():
    steps.append(environment.step(action_of(steps[-1].observation)))
  return steps


def _navigate(environment):
  """Runs one episode of a controller that moves towards the goal."""
  maze = environment.maze
  def action_of(observation):
    path = maze.shortest_path(
        maze.to_cell(observation[:2]), maze.evaluation_goal)
    target = maze.to_xy(path[1]) if len(path) > 1 else environment.goal
    error = target - observation[:2] - 0.2 * observation[2:]
    return np.clip(error, -1, 1).astype(np.float32)
  return _drive(environment, action_of)


@pytest.mark.parametrize('name', _FACTS)
def test_maze_facts(name):
  maze = mazes.MAZES[name]
  free, moves, goal, data_goals = _FACTS[name]
  assert len(maze.free_cells) == free
  assert maze.start == (1, 1)
  assert maze.evaluation_goal == goal
  assert len(maze.data_goals) == data_goals
  assert goal in maze.data_goals
  path = maze.shortest_path(maze.start, goal)
  assert len(path) == moves + 1
  assert (path[0], path[-1]) == (maze.start, goal)
  for here, there in zip(path, path[1:]):
    assert there in maze.neighbours(here)


@pytest.mark.parametrize('name', _FACTS)
def test_cells_and_positions_agree(name):
  maze = mazes.MAZES[name]
  np.testing.assert_array_equal(maze.to_xy(maze.start), [0, 0])
  np.testing.assert_array_equal(maze.to_xy((2, 3)), [8, 4])
  for cell in maze.free_cells:
    for shift in ([-1.9, 1.9], [1.9, -1.9]):
      assert maze.to_cell(maze.to_xy(cell) + shift) == cell


@pytest.mark.parametrize('name', _FACTS)
def test_walls_cover_exactly_the_wall_cells(name):
  maze = mazes.MAZES[name]
  for i, row in enumerate(maze.layout):
    for j, kind in enumerate(row):
      x, y = maze.to_xy((i, j))
      covering = [1 for left, low, width, height in maze.walls
                  if left < x < left + width and low < y < low + height]
      assert len(covering) == (kind == '1')
  x, y, width, height = maze.extent
  assert sum(w * h for _, _, w, h in maze.walls) == (
      width * height - 16 * len(maze.free_cells))
  assert (x, y) == (-6, -6)


def test_shortest_path_refuses_walls():
  with pytest.raises(
      ValueError, match=r"\(0, 0\) is not a free cell .* 'umaze'"):
    mazes.MAZES['umaze'].shortest_path((0, 0), (1, 1))


def test_walls_stop_the_point():
  physics = pointmaze.PointMass(mazes.MAZES['umaze'])
  for force in ([-1, 0], [0, -1], [0, 1], [1, 0]):
    physics.reset([0, 0])
    x, y = _push(physics, force, 40)[:, :2].T
    # Cell walls are 2 units away; the corridor to the right ends at 10.
    assert x.min() > -2 and y.min() > -2 and y.max() < 2 and x.max() < 10
    assert np.hypot(x[-1], y[-1]) > 0.95
  assert x[-1] > 9


def test_speed_limit_and_response():
  physics = pointmaze.PointMass(mazes.MAZES['large'])
  physics.reset(mazes.MAZES['large'].to_xy((5, 6)))
  speeds = _push(physics, [1, 0], 20)[:, 2]
  assert np.all(np.diff(speeds) > 0)
  np.testing.assert_allclose(speeds[-1], pointmaze.TOP_SPEED, rtol=0.01)
  assert 0.2 < speeds[0] / pointmaze.TOP_SPEED < 0.5
  # Forces above 1 are clipped.
  physics.reset(mazes.MAZES['large'].to_xy((5, 6)))
  np.testing.assert_array_equal(_push(physics, [7, 0], 20)[:, 2], speeds)


def test_reward_radius():
  inside = [[3.49, 0], [3, 0.49], [3.3, -0.3]]
  outside = [[3.51, 0], [3, -0.51], [3.4, 0.4]]
  assert pointmaze.reaches(np.array(inside), np.array([3, 0])).all()
  assert not pointmaze.reaches(np.array(outside), np.array([3, 0])).any()


@pytest.mark.parametrize('task_name', pointmaze.task_names())
def test_the_goal_ends_an_episode(task_name):
  environment = pointmaze.PointMaze(task_name, seed=0)
  steps = _navigate(environment)
  *before, last = steps[1:]
  assert all(s.mid() and s.reward == 0 and s.discount == 1 for s in before)
  assert last.reward == 1 and last.discount == 0
  distances = [np.linalg.norm(s.observation[:2] - environment.goal)
               for s in steps]
  assert distances[-1] <= 0.5 < min(distances[:-1])
  # The number of steps for which the tasks are designed.
  limits = {'umaze': (30, 90), 'medium': (55, 140), 'large': (80, 180)}
  least, most = limits[environment.maze.name]
  assert least < len(before) < most
  assert environment.step(np.zeros(2, np.float32)).first()


@pytest.mark.parametrize('task_name, limit', [
    ('pointmaze-umaze', 700), ('pointmaze-umaze-play', 700),
    ('pointmaze-medium-play', 1000), ('pointmaze-large-diverse', 1000)])
def test_the_time_limit_truncates(task_name, limit):
  environment = pointmaze.PointMaze(task_name, seed=0)
  steps = _drive(environment, lambda _: np.zeros(2, np.float32))
  assert len(steps) == limit + 1
  assert steps[-1].reward == 0 and steps[-1].discount == 1
  assert environment.step(np.zeros(2, np.float32)).first()


def test_steps_fit_the_specs():
  environment = environments.make_environment(
      'pointmaze', 'pointmaze-medium-diverse', 0)
  rng = np.random.default_rng(0)
  steps = _drive(environment, lambda _: rng.uniform(-1, 1, 2).astype('f4'))
  assert steps[0].reward is None and steps[0].discount is None
  for step in steps:
    environment.observation_spec().validate(step.observation)
    if not step.first():
      environment.reward_spec().validate(step.reward)
      environment.discount_spec().validate(step.discount)
  assert environment.action_spec().shape == (2,)
  assert isinstance(environment, dm_env.Environment)


def test_observations_are_not_shared_between_steps():
  environment = pointmaze.PointMaze('pointmaze-umaze', seed=0)
  first = environment.reset().observation
  kept = first.copy()
  environment.step(np.ones(2, np.float32))
  np.testing.assert_array_equal(first, kept)


def test_seeds_determine_episodes():
  def episodes(seed):
    environment = pointmaze.PointMaze('pointmaze-umaze', seed)
    found = []
    for _ in range(3):
      steps = _navigate(environment)
      found.append(np.concatenate(
          [environment.goal] + [s.observation for s in steps]))
    return found
  first, again, other = episodes(3), episodes(3), episodes(4)
  for a, b in zip(first, again):
    np.testing.assert_array_equal(a, b)
  assert not np.array_equal(first[0][:6], first[1][:6])
  assert not np.array_equal(first[0][:6], other[0][:6])


def test_starts_and_goals_vary_within_their_cells():
  environment = pointmaze.PointMaze('pointmaze-large-play', seed=0)
  starts, goals = [], []
  for _ in range(200):
    starts.append(environment.reset().observation)
    goals.append(environment.goal - environment.maze.to_xy((7, 9)))
  starts, goals = np.array(starts), np.array(goals)
  assert np.all(starts[:, 2:] == 0)
  assert 0.8 < np.abs(starts[:, :2]).max() <= pointmaze.START_NOISE
  assert 0.2 < np.abs(goals).max() <= pointmaze.GOAL_NOISE


@pytest.mark.parametrize('action', [
    np.zeros(3), np.array([np.nan, 0]), np.array([0, np.inf]), 0.0])
def test_refuses_malformed_actions(action):
  environment = pointmaze.PointMaze('pointmaze-umaze', seed=0)
  environment.reset()
  with pytest.raises(ValueError, match='two finite numbers'):
    environment.step(action)


def test_unknown_names_are_refused():
  with pytest.raises(ValueError) as error:
    environments.make_environment('pointmaze', 'pointmaze-huge-play', 0)
  assert 'pointmaze-huge-play' in str(error.value)
  for name in pointmaze.task_names():
    assert name in str(error.value)
  with pytest.raises(ValueError, match="'atari'.*'pointmaze' and 'd4rl'"):
    environments.make_environment('atari', 'pong', 0)


def test_task_names():
  assert set(pointmaze.task_names()) == {'pointmaze-umaze'} | {
      f'pointmaze-{maze}-{protocol}' for maze in ('umaze', 'medium', 'large')
      for protocol in ('play', 'diverse')}
