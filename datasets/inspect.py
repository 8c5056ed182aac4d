"""Says what is in a dataset, and draws it.

  python -m acme_msg.datasets.inspect SRC

SRC is whatever `--dataset` may name, see `sources.find`. It is read block by
block, once. Printed are the sizes, the ranges of all columns, the returns and
lengths of the episodes, and what looks wrong; the picture shows returns,
lengths and, for mazes, where the data is.
"""

import contextlib
import dataclasses
import logging
import os
import re
from typing import Dict, Iterator, List, Optional, Sequence

from absl import app
from absl import flags
from matplotlib import colors
from matplotlib import figure as figure_lib
from matplotlib import patches
import numpy as np
import tqdm

from . import loading
from . import moments
from . import ogbench
from . import sources
from . import steps as steps_lib
from .. import atomic_files
from ..environments import mazes

# No more different rewards than this are listed.
_MAX_REWARDS = 8
# Wider vectors are summed up in one line.
_MAX_LINES = 40
# As many positions are enough for a picture.
_MAX_POSITIONS = 400_000
# The share of the positions that has to lie in free cells of a maze.
_IN_MAZE = 0.995
# Units of length of the squares in which positions are counted.
_SQUARE = 0.5
_COLOR = '#0072B2'


@dataclasses.dataclass
class Report:
  """What is known of a dataset after one pass over it.

  Attributes:
    name: of the source.
    kind: of the source.
    episodes: returns, and lengths with the final observation.
    num_ended: how many actions have discount 0.
    num_cut_off: how many episodes end without that.
    observation: of all steps but those behind an end, `[O]`.
    action: of all actions that were taken, `[A]`.
    reward: of all actions that were taken, `[1]`.
    rewards: how often each reward occurs; empty if they are many.
    positions: `[P, 2]`, the first two observations of evenly chosen steps.
    warnings: what looks wrong.
  """
  name: str
  kind: str
  episodes: loading.Episodes
  num_ended: int
  num_cut_off: int
  observation: moments.Moments
  action: moments.Moments
  reward: moments.Moments
  rewards: dict[float, int]
  positions: np.ndarray
  warnings: List[str]


def inspect(source: steps_lib.Source) -> Report:
  """Reads a dataset once, block by block.

  Args:
    source: the dataset.

  Raises:
    FileNotFoundError: if there is no such dataset.
    ValueError: if it is not valid.
  """
  observation, action, reward = (moments.Moments() for _ in range(3))
  counts: Dict[float, int] = {}
  many = False
  positions, stride = [], 1
  num_ended = num_cut_off = 0

  def look(blocks: Iterator[steps_lib.Steps]) -> Iterator[steps_lib.Steps]:
    nonlocal counts, many, positions, stride, num_ended, num_cut_off
    for steps in blocks:
      real, taken = ~steps.is_terminal, ~steps.is_last
      observation.add(steps.observation[real])
      if taken.any():
        action.add(steps.action[taken])
        reward.add(steps.reward[taken, None])
      num_ended += np.count_nonzero(steps.discount[taken] == 0)
      num_cut_off += np.count_nonzero(steps.is_last & ~steps.is_terminal)
      if not many:
        for value, count in zip(*np.unique(
            steps.reward[taken], return_counts=True)):
          counts[float(value)] = counts.get(float(value), 0) + int(count)
          many = len(counts) > _MAX_REWARDS
          if many:
            counts = {}
            break
      positions.append(steps.observation[real][::stride, :2].copy())
      if sum(map(len, positions)) > _MAX_POSITIONS:
        positions, stride = [np.concatenate(positions)[::2]], 2 * stride
      yield steps

  with _warnings(source.name) as said, tqdm.tqdm(
      unit=' steps', unit_scale=True, desc='reading') as bar:
    episodes = loading.summarise(
        look(counted(source.blocks(), bar)))
  if action.count:
    said += _oddities(observation, action, num_ended, num_cut_off, episodes)
  return Report(
      source.name, source.kind, episodes, num_ended, num_cut_off, observation,
      action, reward, counts, np.concatenate(positions), said)


def counted(
    blocks: Iterator[steps_lib.Steps], bar: tqdm.tqdm,
) -> Iterator[steps_lib.Steps]:
  """Yields blocks of steps, and shows on a bar how many there were."""
  for steps in blocks:
    yield steps
    bar.update(len(steps.reward))


@contextlib.contextmanager
def _warnings(name: str) -> Iterator[List[str]]:
  """Collects the warnings that are logged of a source; others log some too."""
  said: List[str] = []
  handler = logging.Handler(logging.WARNING)
  handler.emit = lambda record: said.extend(  # type: ignore[method-assign]
      m.removeprefix(f'{name}: ') for m in [record.getMessage()]
      if m.startswith(name))
  logger = logging.getLogger('absl')
  logger.addHandler(handler)
  try:
    yield said
  finally:
    logger.removeHandler(handler)


def _oddities(
    observation: moments.Moments, action: moments.Moments, num_ended: int,
    num_cut_off: int, episodes: loading.Episodes,
) -> List[str]:
  """Returns what a reader of the numbers may miss."""
  said = []
  for name, columns in (('observation', observation), ('action', action)):
    constant = np.flatnonzero(columns.low == columns.high)
    if len(constant):
      said.append(
          f'{name}: constant in the dimensions {constant.tolist()}.')
  if not num_ended:
    said.append('No action ends an episode (discount 0): all are cut off.')
  elif not num_cut_off:
    said.append('No episode is cut off: each ends with discount 0.')
  if len(episodes.lengths) < 2:
    said.append('The whole dataset is one episode.')
  alone = np.count_nonzero(episodes.lengths < 2)
  if alone:
    said.append(f'{alone} episodes consist of one step: no transition.')
  short = np.count_nonzero(episodes.lengths == 2)
  if 2 * short > len(episodes.lengths):
    said.append(
        f'{short} of {len(episodes.lengths)} episodes are one action long, as '
        'in D4RL\'s AntMaze v2, where each row in the goal is terminal: '
        'returns and lengths say little.')
  return said


def to_text(report: Report) -> str:
  """Writes a report for people."""
  episodes = report.episodes
  transitions = report.action.count
  lines = [
      f'{report.name} ({report.kind})',
      f'transitions  {transitions:,}, of which {report.num_ended:,} end an '
      'episode (discount 0)',
      f'episodes     {len(episodes.returns):,}, of which '
      f'{report.num_cut_off:,} were cut off',
      'lengths      ' + _spread(episodes.lengths - 1, 'transitions'),
      'returns      ' + _spread(episodes.returns, "the environment's own unit")]
  if transitions:
    if report.rewards:
      lines.append('rewards      ' + ', '.join(
          f'{value:g} ({count:,} times)'
          for value, count in sorted(report.rewards.items())))
    else:
      lines.append('rewards      more than '
                   f'{_MAX_REWARDS} different ones')
    lines.append('             ' + _table_row(report.reward, slice(None)))
    for name, columns in (
        ('action', report.action), ('observation', report.observation)):
      size = len(columns.low)
      lines.append(f'{name} ({size})')
      if size > _MAX_LINES:
        lines.append('         all ' + _table_row(columns, slice(None)))
      else:
        lines += [f'        {i:4d} ' + _table_row(columns, slice(i, i + 1))
                  for i in range(size)]
  lines += ['', 'Warnings:' if report.warnings else 'No warnings.']
  lines += [f'  * {warning}' for warning in report.warnings]
  return '\n'.join(lines)


def _spread(values: np.ndarray, unit: str) -> str:
  low, median, high = np.quantile(values, [0, .5, 1])
  return (f'{low:.6g} to {high:.6g}, median {median:.6g}, '
          f'mean {values.mean():.6g} ({unit})')


def _table_row(columns: moments.Moments, which: slice) -> str:
  # Of several columns: the range of all, and the means of means and spreads.
  low, high = columns.low[which].min(), columns.high[which].max()
  mean, std = columns.mean[which].mean(), columns.std[which].mean()
  return f'{low:11.5g} to {high:<11.5g} mean {mean:<11.5g} std {std:.5g}'


def find_maze(positions: np.ndarray) -> Optional[mazes.Maze]:
  """Returns the maze of which the positions visit the most, if they are in one.

  Args:
    positions: `[P, 2]`, in units of length.
  """
  # Half a unit is fine enough: a cell has four.
  cells, counts = np.unique(
      np.rint(positions / mazes.SCALING).astype(int), axis=0,
      return_counts=True)
  best, share = None, 0.
  for maze in mazes.MAZES.values():
    row, column = maze.start
    free = np.array([
        maze.is_free((int(y) + row, int(x) + column)) for x, y in cells])
    visited = np.count_nonzero(free) / len(maze.free_cells)
    if counts[free].sum() >= _IN_MAZE * len(positions) and visited > share:
      best, share = maze, visited
  return best


def draw(report: Report, path: str, task_name: str = ''):
  """Draws returns, lengths and, for mazes, where the data is.

  Args:
    report: of a dataset.
    path: of the PNG file, which must not exist.
    task_name: a dataset is one of a maze if this, or its name, says so.

  Raises:
    FileExistsError: if there is something at `path`.
  """
  has_maze = ('maze' in (task_name + report.name).lower() and
              report.positions.shape[1] == 2)
  figure = figure_lib.Figure(
      figsize=(4.2 * (3 if has_maze else 2), 4), layout='constrained')
  panels = figure.subplots(1, 3 if has_maze else 2)
  for axes, values, label in (
      (panels[0], report.episodes.returns,
       "return (the environment's own unit)"),
      (panels[1], report.episodes.lengths - 1, 'length (transitions)')):
    counts, *_ = axes.hist(values, bins=min(50, 1 + len(values)), color=_COLOR)
    axes.set_yscale('log')
    axes.set_ylim(0.7, 1.5 * counts.max())  # For one episode to be seen.
    axes.set_xlabel(label)
    axes.set_ylabel('episodes')
  if has_maze:
    _draw_coverage(panels[2], report.positions)
  figure.suptitle(report.name[-80:])
  with atomic_files.create(path, directory=False) as temporary:
    figure.savefig(temporary, format='png', dpi=150)


def _draw_coverage(axes, positions: np.ndarray):
  """Draws how many steps there are in each square, and walls if known."""
  maze = find_maze(positions)
  edges = [
      np.arange(np.floor(low), high + _SQUARE, _SQUARE)
      for low, high in zip(positions.min(axis=0), positions.max(axis=0))]
  *_, image = axes.hist2d(
      *positions.T, bins=edges, norm=colors.LogNorm(), cmap='viridis')
  if maze is not None:
    for x, y, width, height in maze.walls:
      axes.add_patch(patches.Rectangle(
          (x, y), width, height, facecolor='0.35', linewidth=0))
    x, y, width, height = maze.extent
    axes.set_xlim(x, x + width)
    axes.set_ylim(y, y + height)
  axes.set_aspect('equal')
  axes.set_xlabel('x (units of length)')
  axes.set_ylabel('y (units of length)')
  axes.figure.colorbar(image, ax=axes, label='steps')


def define_source_flags():
  """Defines the flags that `source_of` needs."""
  flags.DEFINE_string(
      'task_name', '', 'The task of the data, such as antmaze-large-play-v2.')
  flags.DEFINE_integer(
      'episode_limit', None,
      'Steps after which episodes were cut off, for an HDF5 file without the '
      'field timeouts; by default the limit of the task.', lower_bound=1)
  flags.DEFINE_list(
      'dataset_goal', None,
      'X,Y: the goal that rewards are written for, in OGBench\'s mazes.')


def source_of(dataset: str) -> steps_lib.Source:
  """Finds a dataset, by the flags; see `sources.find`."""
  return sources.find(
      dataset, flags.FLAGS.task_name, episode_limit=flags.FLAGS.episode_limit,
      goal=ogbench.parse_goal(flags.FLAGS.dataset_goal))


def main(argv: Sequence[str]):
  if len(argv) != 2:
    raise app.UsageError('Name one dataset: SRC.')
  try:
    source = source_of(argv[1])
    path = flags.FLAGS.output or re.sub(
        r'\.(hdf5|npz)$', '', os.path.basename(argv[1].rstrip('/'))) + '.png'
    atomic_files.check_free(path)  # Before the dataset is read.
    report = inspect(source)
    print(to_text(report))
    draw(report, path, flags.FLAGS.task_name)
    print(f'\nPicture: {path}')
  except (OSError, ValueError) as error:
    raise SystemExit(f'Nothing to show: {error}') from error


if __name__ == '__main__':
  # Defined here for the importing programs to have flags of the same names.
  define_source_flags()
  flags.DEFINE_string(
      'output', None, 'The picture to draw; by default it has the dataset\'s '
      'name with .png, in this directory. Nothing is overwritten.')
  app.run(main)
