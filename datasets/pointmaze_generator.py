"""Makes the datasets of the embedded tasks by D4RL's protocol for AntMaze.

A controller finds the shortest way over the maze's cells and pushes the point
from one to the next, with Gaussian noise on its actions. Where it starts and
what it aims at is drawn per episode, by the task's protocol:

  * 'fixed' (pointmaze-umaze): from the start to the goal of evaluation.
  * 'play': from any free cell to one of the hand-picked goals, of which the
    start of evaluation is one here, for its surroundings to be covered.
  * 'diverse': from any free cell to any other.

Reaching a goal does not end an episode: the controller hovers there until the
episode is cut. Afterwards rewards are written for the goal of evaluation alone:
a step whose next position is within reach of it has reward 1 and is terminal,
and the rows after it go on, as in D4RL's v2 files. See the D4RL paper, appendix
on AntMaze: https://arxiv.org/abs/2004.07219.

Two things differ from D4RL. The point is faster than the ant, and in episodes
of 700 and 1000 steps it would hover nearly all of the time: `EPISODE_STEPS` is
what most ways need. And in 'play' and 'diverse' no way is longer than 80% of
the one that evaluation asks for: no episode shows all of it, and a policy has
to stitch it from pieces. An imitator of the data stops at other goals.

Usage:
  python -m acme_msg.datasets.pointmaze_generator pointmaze-umaze-diverse
"""

import functools
import os
import tempfile
from typing import Dict, List, Tuple

from absl import app
from absl import flags
import h5py
import numpy as np
import tqdm

from ..environments import mazes
from ..environments import pointmaze

# Part of every file's name: to be raised when the data that a seed gives
# changes, so that files of an older generator are never taken for new ones.
VERSION = 6
NUM_TRANSITIONS = 300_000

# Steps per episode of collection.
EPISODE_STEPS = {'umaze': 80, 'medium': 110, 'large': 150}
# The longest way of an episode, as a share of that from the start to the goal
# of evaluation.
_LONGEST_WAY = 0.8
# The standard deviation of the noise on actions, as in D4RL.
_ACTION_NOISE = 0.2
# An episode's path and its goal lie off the cells' centres by up to this much,
# on each axis. That is farther than the point gets: what pushing against a wall
# leads to has to be in the data, or else a policy may come to hope for it.
_NOISE = 1.3
# The controller: force per unit of distance and per unit of speed, and the
# distance, on each axis, at which it turns to the next cell. An episode's
# greatest force is drawn, for the velocities to differ.
_GAIN = 1.0
_BRAKE = 0.25
_TURNING_DISTANCE = 1.0
_LEAST_FORCE = 0.4


@functools.cache
def _moves(maze: mazes.Maze, source: mazes.Cell, target: mazes.Cell) -> int:
  """The length of the shortest way between two cells, in moves."""
  return len(maze.shortest_path(source, target)) - 1


def _draw_cells(task: pointmaze.Task,
                rng: np.random.Generator) -> Tuple[mazes.Cell, mazes.Cell]:
  """Draws where an episode starts and what it aims at, two distinct cells."""
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
  """Collects one episode of `steps` steps, as arrays of D4RL's layout."""
  maze = task.maze
  start, goal = _draw_cells(task, rng)
  shift = rng.uniform(-_NOISE, _NOISE, size=2)
  goal_shift = rng.uniform(-_NOISE, _NOISE, size=2)
  force = rng.uniform(_LEAST_FORCE, 1.0)
  noise = rng.normal(scale=_ACTION_NOISE, size=(steps, 2))
  cells = maze.shortest_path(start, goal)
  path = [maze.to_xy(cell) + shift for cell in cells[:-1]]
  path.append(maze.to_xy(goal) + goal_shift)
  path.reverse()  # What comes next is the last one.
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


def _validated(task_name: str, num_transitions: int) -> pointmaze.Task:
  """Returns the task, after a check of both arguments."""
  if num_transitions < 1:
    raise ValueError(f'num_transitions has to be at least 1, found '
                     f'{num_transitions}.')
  return pointmaze.get_task(task_name)


def generate(task_name: str, num_transitions: int = NUM_TRANSITIONS,
             seed: int = 0) -> Dict[str, np.ndarray]:
  """Generates a dataset; the same arguments give the same one.

  Args:
    task_name: one of `pointmaze.task_names()`.
    num_transitions: the number of rows T; the last episode is cut to fit.
    seed: determines all that is drawn.

  Returns:
    Arrays by their names in the file: `observations` [T, 4], `actions` [T, 2]
    and `rewards` [T], float32; `terminals` and `timeouts` [T], bool, of which
    the last row of an episode has exactly one; `infos/goal` [T, 2], where the
    controller aimed, `infos/qpos` [T, 2] and `infos/qvel` [T, 2], float32.

  Raises:
    ValueError: if there is no such task or `num_transitions` is below 1.
  """
  task = _validated(task_name, num_transitions)
  rng = np.random.default_rng(seed)
  physics = pointmaze.PointMass(task.maze)
  limit = EPISODE_STEPS[task.maze.name]
  episodes: List[Dict[str, np.ndarray]] = []
  missing = num_transitions
  # Shown on terminals only (`disable=None`), for logs to stay readable.
  with tqdm.tqdm(total=num_transitions, desc=task_name, unit='step',
                 disable=None) as bar:
    while missing:
      steps = min(limit, missing)
      episodes.append(_collect_episode(task, physics, rng, steps))
      missing -= steps
      bar.update(steps)
  return {name: np.concatenate([e[name] for e in episodes])
          for name in episodes[0]}


def dataset_path(task_name: str, num_transitions: int = NUM_TRANSITIONS,
                 seed: int = 0) -> str:
  """Where the dataset of a task lies, or will lie.

  Args:
    task_name: one of `pointmaze.task_names()`.
    num_transitions: the number of rows.
    seed: the generator's seed.

  Returns:
    A path in `$ACME_MSG_DATA_DIR`, by default `~/.acme_msg/datasets`.

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
  """Generates a dataset into a new HDF5 file of D4RL's layout.

  Args:
    path: the file, whose folder is made if missing.
    task_name: one of `pointmaze.task_names()`.
    num_transitions: the number of rows.
    seed: the generator's seed.

  Raises:
    FileExistsError: if the file exists; it is left as it is.
    ValueError: if there is no such task or `num_transitions` is below 1.
  """
  if os.path.exists(path):
    raise FileExistsError(f'{path} exists and is not overwritten; remove it '
                          f'or name another file.')
  task = _validated(task_name, num_transitions)
  folder = os.path.dirname(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  # The file appears under its name at once and complete.
  with tempfile.TemporaryDirectory(dir=folder, prefix='.pointmaze-') as scratch:
    temporary = os.path.join(scratch, 'dataset.hdf5')
    arrays = generate(task_name, num_transitions, seed)
    with h5py.File(temporary, 'w') as file:
      for name, array in arrays.items():
        file.create_dataset(name, data=array, compression='gzip')
      file['metadata/task_name'] = task_name
      file['metadata/seed'] = seed
      file['metadata/generator_version'] = VERSION
      file['metadata/evaluation_goal'] = task.maze.to_xy(
          task.maze.evaluation_goal)
    # Unlike a renaming, a link refuses a name that was taken meanwhile.
    os.link(temporary, path)


def ensure(task_name: str, num_transitions: int = NUM_TRANSITIONS,
           seed: int = 0) -> str:
  """Generates the dataset of a task unless its file exists.

  Args:
    task_name: one of `pointmaze.task_names()`.
    num_transitions: the number of rows.
    seed: the generator's seed.

  Returns:
    The file's path, that of `dataset_path`.

  Raises:
    ValueError: if there is no such task or `num_transitions` is below 1.
  """
  path = dataset_path(task_name, num_transitions, seed)
  if not os.path.exists(path):
    try:
      write(path, task_name, num_transitions, seed)
    except FileExistsError:
      pass  # Another process was faster, with the same content.
  return path


def main(argv: List[str]) -> None:
  """Generates the dataset of the task that is named on the command line."""
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
  except (ValueError, FileExistsError) as error:
    raise app.UsageError(str(error)) from error
  print(path)


if __name__ == '__main__':
  # Defined here for the importing programs to have flags of the same names.
  flags.DEFINE_integer('num_transitions', NUM_TRANSITIONS, 'Number of rows.')
  flags.DEFINE_integer('seed', 0, 'Seed of the generator.', lower_bound=0)
  flags.DEFINE_string(
      'output', None, 'The file to write; by default the one in '
      '$ACME_MSG_DATA_DIR where training looks for it.')
  app.run(main)
