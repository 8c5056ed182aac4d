"""Environments by name: the embedded mazes and those of D4RL."""

import dm_env

from .scores import normalized_score

__all__ = ('make_environment', 'normalized_score')


def make_environment(task_class: str, task_name: str,
                     seed: int) -> dm_env.Environment:
  """Makes the environment of a task.

  Args:
    task_class: 'pointmaze' (embedded) or 'd4rl'.
    task_name: for example 'pointmaze-umaze-diverse', or
      'antmaze-large-diverse-v0'.
    seed: seeds all random draws of the environment.

  Returns:
    An environment with flat float32 observations [O] and float32 actions in
    [-1, 1]^A.

  Raises:
    ValueError: if the class or the task is unknown.
  """
  # Imported on use: the engines are large, and D4RL may not be installed.
  if task_class == 'pointmaze':
    from . import pointmaze
    return pointmaze.PointMaze(task_name, seed)
  if task_class == 'd4rl':
    from . import d4rl_environment
    return d4rl_environment.make(task_name, seed)
  raise ValueError(f'There is no task class {task_class!r}; the classes are '
                   "'pointmaze' and 'd4rl'.")
