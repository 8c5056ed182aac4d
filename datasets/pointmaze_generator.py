"""Generates the datasets of the embedded tasks, by D4RL's protocol for AntMaze.

  python -m acme_msg.datasets.pointmaze_generator pointmaze-umaze-diverse

A controller finds the shortest path over the maze's cells and pushes the point
from cell to cell, with Gaussian noise on its actions. The task's protocol
decides how start and goal of an episode are drawn:

  * 'fixed' (pointmaze-umaze): the start and the goal of evaluation.
  * 'play': any free cell as start, one of the hand-picked goals as goal. The
    start of evaluation is one of these, so that the data covers its
    surroundings.
  * 'diverse': any free cell as start, any other as goal.

Reaching a goal does not end an episode: the controller stays there until the
episode's limit. Rewards are then computed for the goal of evaluation alone: a
step whose next position is within reach of it has reward 1 and is terminal, and
the rows after it continue, as in D4RL's v2 files. Source: the appendix on
AntMaze of https://arxiv.org/abs/2004.07219.

Two things differ from D4RL. The point is faster than the ant and would spend
most of an episode of 700 or 1000 steps at the goal, so that episodes have
`EPISODE_STEPS` steps, enough for most paths. In 'play' and 'diverse' no path is
longer than 80% of the one from the start to the goal of evaluation: no episode
shows that path, a policy must combine several, and behaviour cloning stops at
other goals.
"""

import contextlib
import functools
import os
from typing import Dict, Sequence, Tuple

from absl import app
from absl import flags
import numpy as np
import tqdm

from . import hdf5
from .. import atomic_files
from .. import command_help
from ..environments import mazes
from ..environments import pointmaze

# Part of every file's name. Increase it when the data of a seed changes, so
# that files of an older generator are not used.
VERSION = 6
NUM_TRANSITIONS = 300_000

# Steps per episode of collection.
EPISODE_STEPS = {'umaze': 80, 'medium': 110, 'large': 150}
# Longest path of an episode, relative to the path from the start to the goal of
# evaluation.
_LONGEST_WAY = 0.8
# Standard deviation of the noise on actions, as in D4RL.
_ACTION_NOISE = 0.2
# Largest distance of an episode's path and goal from the cells' centres, on
# each axis. The walls stop the point before that: the data must show the effect
# of pushing against a wall, or a policy may overestimate its value.
_NOISE = 1.3
# The controller: force per unit of distance and per unit of speed, and the
# distance, on each axis, at which it turns to the next cell. Each episode draws
# its largest force from [_LEAST_FORCE, 1], so that velocities differ.
_GAIN = 1.0
_BRAKE = 0.25
_TURNING_DISTANCE = 1.0
_LEAST_FORCE = 0.4


@functools.cache
def _moves(maze: mazes.Maze, source: mazes.Cell, target: mazes.Cell) -> int:
  """Returns the number of moves on the shortest path between two cells."""
  return len(maze.shortest_path(source, target)) - 1


def _draw_cells(task: pointmaze.Task,
                rng: np.random.Generator) -> Tuple[mazes.Cell, mazes.Cell]:
  """Draws the start and the goal of an episode, two distinct cells."""
  maze = task.maze
  if task.protocol == 'fixed':
    return maze.start, maze.evaluation_goal
  start = maze.free_cells[rng.integers(len(maze.free_cells))]
  longest = _LONGEST_WAY * _moves(maze, maze.start, maze.evaluation_goal)
  goals = maze.free_cells
  if task.protocol == 'play':
    goals = [maze.start] + maze.data_goals
  goals = [cell for cell in goals if 0 < _moves(maze, start, cell) <= longest]
  return start, goals[rng.integers(len(goals))]


def _collect_episode(task: pointmaze.Task, physics: pointmaze.PointMass,
                     rng: np.random.Generator,
                     steps: int) -> Dict[str, np.ndarray]:
  """Returns one episode of `steps` steps as arrays of D4RL's layout."""
  maze = task.maze
  start, goal = _draw_cells(task, rng)
  shift = rng.uniform(-_NOISE, _NOISE, size=2)
  goal_shift = rng.uniform(-_NOISE, _NOISE, size=2)
  force = rng.uniform(_LEAST_FORCE, 1.0)
  noise = rng.normal(scale=_ACTION_NOISE, size=(steps, 2))
  cells = maze.shortest_path(start, goal)
  path = [maze.to_xy(cell) + shift for cell in cells[:-1]]
  path.append(maze.to_xy(goal) + goal_shift)
  path.reverse()  # The next waypoint is the last item.
  observations = np.empty((steps + 1, 4), np.float32)
  actions = np.empty((steps, 2), np.float32)
  observations[0] = physics.reset(path[-1])
  for t in range(steps):
    position, velocity = observations[t, :2], observations[t, 2:]
    while len(path) > 1 and (
        abs(path[-1] - position).max() < _TURNING_DISTANCE):
      path.pop()
    aim = _GAIN * (path[-1] - position) - _BRAKE * velocity
    actions[t] = (aim.clip(-force, force) + noise[t]).clip(-1, 1)
    observations[t + 1] = physics.step(actions[t])
  terminals = pointmaze.reaches(
      observations[1:, :2], maze.to_xy(maze.evaluation_goal))
  timeouts = np.zeros(steps, bool)
  timeouts[-1] = not terminals[-1]
  return {
      'observations': observations[:-1],
      'actions': actions,
      'rewards': terminals.astype(np.float32),
      'terminals': terminals,
      'timeouts': timeouts,
      'infos/goal': np.tile(path[0].astype(np.float32), (steps, 1)),
      'infos/qpos': observations[:-1, :2],
      'infos/qvel': observations[:-1, 2:],
  }


def generate(task_name: str, num_transitions: int = NUM_TRANSITIONS,
             seed: int = 0) -> Dict[str, np.ndarray]:
  """Returns a dataset; the same arguments give the same data.

  Args:
    task_name: one of `pointmaze.task_names()`.
    num_transitions: number of rows T; the last episode is truncated to fit.
    seed: seed of all random numbers.

  Returns:
    Arrays by their names in the file: `observations` `[T, 4]`, `actions`
    `[T, 2]` and `rewards` `[T]`, float32; `terminals` and `timeouts` `[T]`,
    bool, exactly one of them set in the last row of an episode; `infos/goal`
    `[T, 2]`, the controller's goal, `infos/qpos` `[T, 2]` and `infos/qvel`
    `[T, 2]`, float32.

  Raises:
    ValueError: if there is no such task or `num_transitions` is below 1.
  """
  if num_transitions < 1:
    raise ValueError(
        f'num_transitions must be at least 1, found {num_transitions}.')
  task = pointmaze.get_task(task_name)
  rng = np.random.default_rng(seed)
  physics = pointmaze.PointMass(task.maze)
  limit = EPISODE_STEPS[task.maze.name]
  # `disable=None` shows the bar on terminals only.
  episodes = [
      _collect_episode(task, physics, rng, min(limit, num_transitions - first))
      for first in tqdm.trange(
          0, num_transitions, limit, desc=task_name, unit='episode',
          disable=None)]
  return {name: np.concatenate([e[name] for e in episodes])
          for name in episodes[0]}


def dataset_path(task_name: str, num_transitions: int = NUM_TRANSITIONS,
                 seed: int = 0) -> str:
  """Returns the path of a dataset that `ensure` writes.

  The folder is `$ACME_MSG_DATA_DIR`, by default `~/.acme_msg/datasets`. The
  arguments are those of `generate`.

  Raises:
    ValueError: if there is no such task.
  """
  pointmaze.get_task(task_name)
  folder = os.environ.get('ACME_MSG_DATA_DIR') or '~/.acme_msg/datasets'
  return os.path.join(
      os.path.expanduser(folder),
      f'{task_name}-{num_transitions}-seed{seed}-v{VERSION}.hdf5')


def write(path: str, task_name: str, num_transitions: int = NUM_TRANSITIONS,
          seed: int = 0) -> None:
  """Writes what `generate` returns to a new HDF5 file in D4RL's layout.

  Missing parent directories of `path` are made.

  Raises:
    FileExistsError: if the file exists; it is left as it is.
    ValueError: see `generate`.
  """
  atomic_files.check_free(path)  # Before the work.
  arrays = generate(task_name, num_transitions, seed)
  maze = pointmaze.get_task(task_name).maze
  with (atomic_files.create(path, directory=False) as temporary,
        hdf5.new_file(path, temporary) as (file, _)):
    for name, array in arrays.items():
      file.create_dataset(name, data=array, compression='gzip')
    file['metadata/task_name'] = task_name
    file['metadata/seed'] = seed
    file['metadata/generator_version'] = VERSION
    file['metadata/evaluation_goal'] = maze.to_xy(maze.evaluation_goal)


def ensure(task_name: str, num_transitions: int = NUM_TRANSITIONS,
           seed: int = 0) -> str:
  """Writes the dataset at `dataset_path` unless it exists; returns the path.

  Arguments and errors are those of `generate`.
  """
  path = dataset_path(task_name, num_transitions, seed)
  if not os.path.exists(path):
    # Another process may write the same content first.
    with contextlib.suppress(FileExistsError):
      write(path, task_name, num_transitions, seed)
  return path


def main(argv: Sequence[str]) -> None:
  if len(argv) != 2:
    raise app.UsageError(
        f'Name one task: {", ".join(pointmaze.task_names())}.')
  arguments = argv[1], flags.FLAGS.num_transitions, flags.FLAGS.seed
  try:
    if flags.FLAGS.output is None:
      path = ensure(*arguments)
    else:
      path = flags.FLAGS.output
      write(path, *arguments)
  except (ValueError, OSError) as error:
    raise app.UsageError(str(error)) from error
  print(path)


if __name__ == '__main__':
  # Defined here because importing programs have flags of the same names.
  flags.DEFINE_integer('num_transitions', NUM_TRANSITIONS, 'Number of rows.')
  flags.DEFINE_integer('seed', 0, 'Seed of the generator.', lower_bound=0)
  flags.DEFINE_string(
      'output', None, 'The file to write; by default the one in '
      '$ACME_MSG_DATA_DIR that training uses.')
  command_help.run(main)
