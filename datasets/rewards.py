"""Named transforms of the rewards that a learner is given."""

from absl import logging
import numpy as np

NAMES = ('auto', 'none', 'antmaze')


def resolve(name: str, task_name: str) -> str:
  """Replaces 'auto' by the transform of a task.

  Args:
    name: one of `NAMES`.
    task_name: such as 'antmaze-large-diverse-v0'.

  Returns:
    'antmaze' for AntMaze and the embedded point mazes, which have the same
    sparse 0/1 rewards, and 'none' for all else, as in the reference (the MSG
    specification, section 4.1).

  Raises:
    ValueError: if there is no such transform.
  """
  if name not in NAMES:
    raise ValueError(
        f'reward_transform={name!r} is unknown; use one of {", ".join(NAMES)}.')
  if name == 'auto':
    sparse_maze = task_name.startswith(('antmaze', 'pointmaze'))
    return 'antmaze' if sparse_maze else 'none'
  return name


def transform(reward: np.ndarray, name: str, task_name: str) -> np.ndarray:
  """Applies a named transform: 'antmaze' is r <- 4 (r - 0.5).

  Args:
    reward: `[T]` float32, in the environment's own unit.
    name: one of `NAMES`.
    task_name: decides what 'auto' stands for, see `resolve`.

  Returns:
    `[T]` float32.

  Raises:
    ValueError: if there is no such transform.
  """
  name = resolve(name, task_name)
  logging.info('Rewards of %s: transform %r.', task_name, name)
  if name == 'antmaze':
    return 4 * (reward - np.float32(0.5))
  return reward
