"""Normalised scores (docs/msg.md 8.4)."""

import numpy as np
from numpy import typing

# Returns of a random policy and of the reference policy in D4RL 1.1: by family,
# except for maze2d, where they depend on the maze, the reward and the version
# (episodes of v1 are at least twice as long).
_REFERENCES = {
    'antmaze': (0., 1.),
    'pointmaze': (0., 1.),  # Success or failure, as in AntMaze.
    'halfcheetah': (-280.178953, 12135.0),
    'hopper': (-20.272305, 3234.3),
    'walker2d': (1.629008, 4592.3),
    'ant': (-325.6, 3879.7),
    'kitchen': (0., 4.),
    'pen': (96.262799, 3076.8331017826877),
    'hammer': (-274.856578, 12794.134825156867),
    'door': (-56.512833, 2880.5693087298737),
    'relocate': (-6.425911, 4233.877797728884),
    'maze2d-open-v0': (0.01, 20.66),
    'maze2d-umaze-v1': (23.85, 161.86),
    'maze2d-medium-v1': (13.13, 277.39),
    'maze2d-large-v1': (6.7, 273.99),
    'maze2d-open-dense-v0': (11.17817, 27.166538620695782),
    'maze2d-umaze-dense-v1': (68.537689, 193.66285642381482),
    'maze2d-medium-dense-v1': (44.264742, 297.4552547777125),
    'maze2d-large-dense-v1': (30.569041, 303.4857382709002),
}


def normalized_score(
    task_name: str, returns: typing.ArrayLike) -> np.ndarray | None:
  """Returns 100 (R - R_random) / (R_reference - R_random) of returns R.

  The reference returns are those of D4RL (Fu et al., 2020, arXiv:2004.07219). A
  random policy scores 0 and an expert about 100. In AntMaze and the embedded
  mazes the score is the percentage of episodes that reach the goal.

  Args:
    task_name: a task with its version, such as 'antmaze-large-diverse-v0'.
    returns: undiscounted episode returns of the environment's own rewards, of
      any shape.

  Returns:
    The scores in percent, float64, of the shape of `returns`; None for a task
    without reference returns (maze2d's v0 and the tasks of other suites).
  """
  references = _REFERENCES.get(
      task_name, _REFERENCES.get(task_name.split('-')[0]))
  if references is None:
    return None
  low, high = references
  return 100. * (np.asarray(returns, np.float64) - low) / (high - low)
