"""Draws the returns and lengths of episodes and, for mazes, the positions."""

from typing import Optional

from matplotlib import colors
from matplotlib import figure as figure_lib
from matplotlib import patches
import numpy as np

from . import data_options
from .. import atomic_files
from ..environments import mazes

# Share of the positions that must lie in free cells of a maze.
_IN_MAZE = 0.995
# Side of the squares in which positions are counted, in units of length.
_SQUARE = 0.5
_COLOR = '#0072B2'


def find_maze(positions: np.ndarray) -> Optional[mazes.Maze]:
  """Returns the maze that contains positions `[P, 2]`, or None.

  If several mazes do, the result is the one with the largest share of visited
  cells.
  """
  # A resolution of half a unit is sufficient: a cell has four units.
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


def draw(
    path: str,
    title: str,
    episodes: data_options.Episodes,
    positions: Optional[np.ndarray] = None,
) -> None:
  """Draws episodes and, if given, positions `[P, 2]` in units of length.

  Raises:
    FileExistsError: if `path`, the PNG file, exists.
  """
  number = 2 if positions is None else 3
  figure = figure_lib.Figure(figsize=(4.2 * number, 4), layout='constrained')
  panels = figure.subplots(1, number)
  for axes, values, label in (
      (panels[0], episodes.returns, 'return (before transforms)'),
      (panels[1], episodes.lengths - 1, 'length (transitions)')):
    counts, *_ = axes.hist(values, bins=min(50, 1 + len(values)), color=_COLOR)
    axes.set_yscale('log')
    axes.set_ylim(0.7, 1.5 * counts.max())  # A count of 1 is visible.
    axes.set_xlabel(label)
    axes.set_ylabel('episodes')
  if positions is not None:
    _draw_coverage(panels[2], positions)
  figure.suptitle(title)
  with atomic_files.create(path, directory=False) as temporary:
    figure.savefig(temporary, format='png', dpi=150)


def _draw_coverage(axes, positions: np.ndarray):
  """Draws the number of steps in each square, and the walls if known."""
  edges = [
      np.arange(np.floor(low), high + _SQUARE, _SQUARE)
      for low, high in zip(positions.min(axis=0), positions.max(axis=0))]
  *_, image = axes.hist2d(
      *positions.T, bins=edges, norm=colors.LogNorm(), cmap='viridis')
  maze = find_maze(positions)
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
