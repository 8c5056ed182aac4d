"""The mazes of D4RL's AntMaze (umaze, medium and large) in NumPy.

A cell is a pair (row, column) of the layout. Its centre is at
x = 4 (column - start column), y = 4 (row - start row): the centre of the start
cell is the origin, as in D4RL. The layouts and the protocol are those of D4RL
(Fu et al., 2020), https://arxiv.org/abs/2004.07219.
"""

import collections
import dataclasses
import re
from typing import Dict, List, Tuple

import numpy as np

Cell = Tuple[int, int]
Rectangle = Tuple[float, float, float, float]

# Units of length per cell, as in D4RL's ant mazes.
SCALING = 4.0

_WALL, _START, _GOAL, _EVALUATION_GOAL = '1', 'R', 'G', 'E'

# 1 is a wall, R the start, E the goal of evaluation and of data collection, and
# G a further hand-picked goal of data collection. D4RL has no hand-picked goals
# in umaze; the two corners there were chosen for this project.
_LAYOUTS = {
    'umaze': (
        '11111',
        '1R0G1',
        '11101',
        '1E0G1',
        '11111',
    ),
    'medium': (
        '11111111',
        '1R011001',
        '100100G1',
        '11000111',
        '10010001',
        '1G100101',
        '10001GE1',
        '11111111',
    ),
    'large': (
        '111111111111',
        '1R0001G00001',
        '101101010101',
        '10000G0100G1',
        '101111011101',
        '10G101000001',
        '110101010111',
        '1001G0G10E01',
        '111111111111',
    ),
}


@dataclasses.dataclass(frozen=True)
class Maze:
  """A maze: its layout, and geometry in units of length.

  Attributes:
    name: 'umaze', 'medium' or 'large'.
    layout: one string per row, all of the same length.
  """
  name: str
  layout: Tuple[str, ...]

  def _cells(self, kinds: str) -> List[Cell]:
    return [(i, j) for i, row in enumerate(self.layout)
            for j, kind in enumerate(row) if kind in kinds]

  @property
  def start(self) -> Cell:
    """The cell in which evaluation episodes start."""
    return self._cells(_START)[0]

  @property
  def evaluation_goal(self) -> Cell:
    """The goal cell of evaluation episodes."""
    return self._cells(_EVALUATION_GOAL)[0]

  @property
  def data_goals(self) -> List[Cell]:
    """The goal cells of data collection, including evaluation's."""
    return self._cells(_GOAL + _EVALUATION_GOAL)

  @property
  def free_cells(self) -> List[Cell]:
    """All cells that are not walls, row by row."""
    return [(i, j) for i, row in enumerate(self.layout)
            for j, kind in enumerate(row) if kind != _WALL]

  def is_free(self, cell: Cell) -> bool:
    """Returns whether the cell is inside the layout and not a wall."""
    row, column = cell
    return (0 <= row < len(self.layout) and
            0 <= column < len(self.layout[0]) and
            self.layout[row][column] != _WALL)

  def neighbours(self, cell: Cell) -> List[Cell]:
    """Returns the free cells that share an edge with this one."""
    row, column = cell
    around = [(row - 1, column), (row, column - 1),
              (row, column + 1), (row + 1, column)]
    return [c for c in around if self.is_free(c)]

  def to_xy(self, cell: Cell) -> np.ndarray:
    """Returns the centre of a cell: `[2]`, in units of length."""
    return SCALING * np.subtract(cell, self.start)[::-1].astype(np.float64)

  def to_cell(self, xy: np.ndarray) -> Cell:
    """Returns the cell, free or not, that contains the position `[2]`."""
    column, row = np.rint(np.asarray(xy, np.float64) / SCALING).astype(int)
    return int(row) + self.start[0], int(column) + self.start[1]

  def shortest_path(self, source: Cell, target: Cell) -> List[Cell]:
    """Returns a shortest path over free cells, with both of its ends.

    Raises:
      ValueError: if a cell is not free, or no path connects them.
    """
    for cell in (source, target):
      if not self.is_free(cell):
        raise ValueError(
            f'{cell} is not a free cell of the maze {self.name!r}; its free '
            f'cells are {self.free_cells}.')
    towards = {target: target}
    queue = collections.deque([target])
    while queue and source not in towards:
      cell = queue.popleft()
      for neighbour in self.neighbours(cell):
        if neighbour not in towards:
          towards[neighbour] = cell
          queue.append(neighbour)
    if source not in towards:
      raise ValueError(f'No path leads from {source} to {target} in the maze '
                       f'{self.name!r}.')
    path = [source]
    while path[-1] != target:
      path.append(towards[path[-1]])
    return path

  @property
  def extent(self) -> Rectangle:
    """The rectangle of the maze and its outer walls: (x, y, width, height)."""
    x, y = self.to_xy((0, 0)) - SCALING / 2
    return (x, y, SCALING * len(self.layout[0]), SCALING * len(self.layout))

  @property
  def walls(self) -> List[Rectangle]:
    """The walls as a few disjoint rectangles (x, y, width, height).

    (x, y) is the corner with the smallest coordinates, as in matplotlib's
    `Rectangle`. Adjacent wall cells of a row are joined, then equal runs of
    consecutive rows.
    """
    runs: Dict[Tuple[int, int], List[List[int]]] = collections.defaultdict(list)
    for i, row in enumerate(self.layout):
      for run in re.finditer(f'{_WALL}+', row):
        blocks = runs[run.span()]
        if blocks and blocks[-1][1] == i:
          blocks[-1][1] = i + 1
        else:
          blocks.append([i, i + 1])
    rectangles = []
    for (first, last), blocks in runs.items():
      for top, bottom in blocks:
        x, y = self.to_xy((top, first)) - SCALING / 2
        rectangles.append((float(x), float(y), SCALING * (last - first),
                           SCALING * (bottom - top)))
    return rectangles


MAZES = {name: Maze(name, layout) for name, layout in _LAYOUTS.items()}
