"""The embedded tasks: a point mass in the mazes of AntMaze, in MuJoCo.

The mazes, the sparse reward and the evaluation protocol are those of AntMaze.
A point that a force moves replaces the ant, so that generating data takes
seconds and learning a policy takes minutes.
"""

import math
from typing import List, NamedTuple, Optional

from acme import specs
import dm_env
import mujoco
import numpy as np

from . import mazes

# Seconds per environment step, and simulator steps per environment step.
STEP_SECONDS = 0.1
_SUBSTEPS = 5

# Terminal speed along one axis under full force: 0.5 units per step, more than
# twice the ant's. A good policy takes about 50 steps from start to goal in
# umaze, 80 in medium and 110 in large. With a discount of 0.99, 61%, 46% and
# 34% of the reward remain at the start. At the ant's speed 29%, 14% and 7%
# would remain, less than typical errors of learned values.
TOP_SPEED = 0.5 / STEP_SECONDS
# Time constant of the speed, in seconds: short enough to turn within a cell,
# long enough that the velocity in the observation matters.
_RESPONSE_SECONDS = 0.25
# About the reach of the ant's legs: the point's centre stays within 1 unit of
# the centre line of a cell.
_RADIUS = 1.0

# Positions are drawn within this distance of a cell's centre, on each axis.
START_NOISE = 0.9
GOAL_NOISE = 0.25
# Distance at which a goal is reached, as in AntMaze.
GOAL_RADIUS = 0.5


class Task(NamedTuple):
  """A task: its maze, and how its data is collected.

  Attributes:
    maze: the maze.
    protocol: 'fixed', 'play' or 'diverse'; see
      `datasets.pointmaze_generator`.
    episode_steps: time limit of an evaluation episode, in steps.
  """
  maze: mazes.Maze
  protocol: str
  episode_steps: int


_EPISODE_STEPS = {'umaze': 700, 'medium': 1000, 'large': 1000}
_TASKS = {
    f'pointmaze-{name}-{protocol}': Task(maze, protocol, _EPISODE_STEPS[name])
    for name, maze in mazes.MAZES.items() for protocol in ('play', 'diverse')}
_TASKS['pointmaze-umaze'] = _TASKS['pointmaze-umaze-play']._replace(
    protocol='fixed')


def task_names() -> List[str]:
  """Returns the names of the embedded tasks."""
  return sorted(_TASKS)


def get_task(task_name: str) -> Task:
  """Returns a task by its name, for example 'pointmaze-umaze-diverse'.

  Raises:
    ValueError: if there is no task of this name.
  """
  if task_name not in _TASKS:
    raise ValueError(f'There is no pointmaze task {task_name!r}; the tasks '
                     f'are {", ".join(task_names())}.')
  return _TASKS[task_name]


def reaches(position: np.ndarray, goal: np.ndarray) -> np.ndarray:
  """Returns whether positions `[..., 2]` are at a goal `[2]`: bool `[...]`."""
  return np.linalg.norm(np.subtract(position, goal), axis=-1) <= GOAL_RADIUS


class PointMass:
  """The physics: a force moves a sphere between frictionless walls."""

  def __init__(self, maze: mazes.Maze):
    self._model = mujoco.MjModel.from_xml_string(_xml(maze))
    self._data = mujoco.MjData(self._model)

  def reset(self, position: np.ndarray) -> np.ndarray:
    """Places the point at rest at `position` `[2]`; returns the observation."""
    mujoco.mj_resetData(self._model, self._data)
    self._data.qpos[:] = position
    return self.observation()

  def step(self, force: np.ndarray) -> np.ndarray:
    """Applies a force `[2]` for one step; returns the next observation.

    The force is relative to full force and clipped to [-1, 1].
    """
    self._data.ctrl[:] = force
    mujoco.mj_step(self._model, self._data, _SUBSTEPS)
    return self.observation()

  def observation(self) -> np.ndarray:
    """Returns x, y in units and vx, vy in units per second: `[4]` float32."""
    observation = np.empty(4, np.float32)
    observation[:2] = self._data.qpos
    observation[2:] = self._data.qvel
    return observation


def _xml(maze: mazes.Maze) -> str:
  """Returns the MuJoCo model of the point in a maze."""
  walls = '\n'.join(
      f'<geom type="box" condim="1" pos="{x + w / 2} {y + h / 2} 0" '
      f'size="{w / 2} {h / 2} 1"/>' for x, y, w, h in maze.walls)
  damping = 1 / _RESPONSE_SECONDS  # The mass is 1.
  return f'''
<mujoco>
  <option timestep="{STEP_SECONDS / _SUBSTEPS}" integrator="implicitfast">
    <flag gravity="disable"/>
  </option>
  <worldbody>
    {walls}
    <body>
      <joint name="x" type="slide" axis="1 0 0" damping="{damping}"/>
      <joint name="y" type="slide" axis="0 1 0" damping="{damping}"/>
      <geom type="sphere" condim="1" size="{_RADIUS}" mass="1"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="x" gear="{TOP_SPEED * damping}" ctrlrange="-1 1"/>
    <motor joint="y" gear="{TOP_SPEED * damping}" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
'''


class PointMaze(dm_env.Environment):
  """Reach the goal of a maze: reward 1 at the goal, where it ends; else 0.

  Observations are (x, y, vx, vy), float32 `[4]`, in units and units per second;
  actions are forces `[2]` in [-1, 1]. Each reset draws start and goal around
  the centres of their cells, as D4RL's v2 tasks do. The goal is not observed.
  """

  def __init__(self, task_name: str, seed: Optional[int] = None):
    """Builds the environment of a task.

    Args:
      task_name: one of `task_names()`.
      seed: seeds the starts and goals of all episodes.

    Raises:
      ValueError: if there is no task of this name.
    """
    self._task = get_task(task_name)
    self._physics = PointMass(self._task.maze)
    self._rng = np.random.default_rng(seed)
    self._goal = self._task.maze.to_xy(self._task.maze.evaluation_goal)
    self._steps = 0
    self._over = True

  @property
  def maze(self) -> mazes.Maze:
    """The maze, for example to plot its walls."""
    return self._task.maze

  @property
  def goal(self) -> np.ndarray:
    """The goal of the current episode: `[2]`, in units."""
    return self._goal.copy()

  def reset(self) -> dm_env.TimeStep:
    """Starts an episode."""
    maze = self._task.maze
    start = maze.to_xy(maze.start) + self._rng.uniform(
        -START_NOISE, START_NOISE, size=2)
    self._goal = maze.to_xy(maze.evaluation_goal) + self._rng.uniform(
        -GOAL_NOISE, GOAL_NOISE, size=2)
    self._steps = 0
    self._over = False
    return dm_env.restart(self._physics.reset(start))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Takes a step, or starts the next episode after the end of one.

    Args:
      action: the force `[2]`; clipped to [-1, 1].

    Returns:
      The time step. An episode ends with discount 0 at the goal, and with
      discount 1 at the time limit.

    Raises:
      ValueError: if the action is not two finite numbers.
    """
    if self._over:
      return self.reset()
    if np.shape(action) != (2,) or not math.isfinite(action[0] + action[1]):
      raise ValueError(
          f'The action must be two finite numbers, but it is {action!r}.')
    observation = self._physics.step(action)
    self._steps += 1
    solved = bool(reaches(observation[:2], self._goal))
    self._over = solved or self._steps >= self._task.episode_steps
    return dm_env.TimeStep(
        dm_env.StepType.LAST if self._over else dm_env.StepType.MID,
        np.float32(solved), np.float32(not solved), observation)

  def observation_spec(self) -> specs.Array:
    return specs.Array((4,), np.float32, 'observation')

  def action_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((2,), np.float32, -1.0, 1.0, 'action')

  def reward_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'reward')

  def discount_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')
