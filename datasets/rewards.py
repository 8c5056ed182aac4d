"""Named transforms of rewards; docs/msg.md 8.2."""

from typing import Optional

import numpy as np

NAMES = ('auto', 'none', 'antmaze', 'subtract_one', 'normalize_return')


def resolve(name: str, task_name: str) -> str:
  """Replaces 'auto' by the transform of a task.

  It is 'antmaze' for AntMaze and the embedded point mazes, which have the same
  sparse 0/1 rewards, and else 'none', as in the reference implementation
  (docs/msg.md 8.2).

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


def transform(
    reward: np.ndarray,
    name: str,
    task_name: str,
    return_range: Optional[tuple[float, float]] = None,
) -> np.ndarray:
  """Applies a named transform.

    * 'none': r, unchanged.
    * 'antmaze': 4 (r - 0.5), as in the reference implementation, for rewards
      in [0, 1].
    * 'subtract_one': r - 1, which IQL and others use for AntMaze.
    * 'normalize_return': 1000 r / (highest return - lowest return), as IQL
      does for the Gym-MuJoCo tasks (https://arxiv.org/abs/2110.06169).

  Args:
    reward: `[T]` float32, as the environment gave it.
    name: one of `NAMES`.
    task_name: decides the meaning of 'auto', see `resolve`.
    return_range: lowest and highest return of the used episodes; needed by
      'normalize_return' only.

  Returns:
    `[T]` float32.

  Raises:
    ValueError: if there is no such transform, or it does not fit the rewards
      or returns.
  """
  name = resolve(name, task_name)
  if name == 'antmaze':
    odd = reward[(reward < 0) | (reward > 1)]
    if odd.size:
      raise ValueError(
          "reward_transform='antmaze' is for the rewards 0 and 1 of D4RL's "
          f'AntMaze, but there is {odd[0]:g}; other data of these mazes (as '
          "OGBench's, -1 and 0) needs 'none'.")
    return 4 * (reward - np.float32(0.5))
  if name == 'subtract_one':
    return reward - np.float32(1)
  if name == 'normalize_return':
    if return_range is None or return_range[0] == return_range[1]:
      raise ValueError(
          "reward_transform='normalize_return' divides by the range of the "
          f'episodes\' returns, which is {return_range or "not known"} here; '
          'use another transform.')
    return reward * np.float32(1000 / (return_range[1] - return_range[0]))
  return reward
