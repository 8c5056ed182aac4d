"""What a task name stands for: data, environment and score."""

import functools
import os
from typing import Callable, NamedTuple, Optional

from acme import types
import dm_env
import numpy as np

from .. import environments
from ..datasets import d4rl
from ..datasets import pointmaze
from ..datasets import rlds

TASK_CLASSES = ('pointmaze', 'd4rl')


class Task(NamedTuple):
  """A task, of parts that can be sent to other processes.

  Attributes:
    dataset_factory: reads the whole dataset.
    environment_factory: maps a seed to the environment.
    score_fn: maps returns to normalised scores, or to None if there are none.
    dataset: what the data is, for the run's record.
  """
  dataset_factory: Callable[[], types.Transition]
  environment_factory: Callable[[int], dm_env.Environment]
  score_fn: Callable[[np.ndarray], Optional[np.ndarray]]
  dataset: str


def _load_pointmaze(task_name: str) -> types.Transition:
  return d4rl.load(pointmaze.ensure(task_name), task_name)


def make_task(task_class: str, task_name: str,
              dataset_path: Optional[str] = None) -> Task:
  """Puts a task together.

  Args:
    task_class: 'pointmaze', whose data is made on first use, or 'd4rl'.
    task_name: such as 'pointmaze-umaze-diverse' or 'antmaze-umaze-v2'.
    dataset_path: an HDF5 file of D4RL's layout or a directory of RLDS data to
      use instead of the task's own.

  Returns:
    The task.

  Raises:
    ValueError: if there is no such task class or task.
    FileNotFoundError: if there is no such dataset.
  """
  if task_class not in TASK_CLASSES:
    raise ValueError(
        f'--task_class={task_class!r} is not one of {TASK_CLASSES}.')
  if dataset_path:
    dataset_path = os.path.abspath(os.path.expanduser(dataset_path))
    if not os.path.exists(dataset_path):
      raise FileNotFoundError(
          f'--dataset_path={dataset_path!r} does not exist. Give an HDF5 file '
          'of D4RL\'s layout or a directory of RLDS data, or leave it out to '
          'use the task\'s own dataset.')
    dataset_factory = functools.partial(
        rlds.load if os.path.isdir(dataset_path) else d4rl.load,
        dataset_path, task_name)
  elif task_class == 'pointmaze':
    dataset_path = pointmaze.dataset_path(task_name)
    dataset_factory = functools.partial(_load_pointmaze, task_name)
  else:
    dataset_path = d4rl.find(task_name)
    dataset_factory = functools.partial(
        d4rl.load, dataset_path, task_name)
  return Task(
      dataset_factory=dataset_factory,
      environment_factory=functools.partial(
          environments.make_environment, task_class, task_name),
      score_fn=functools.partial(environments.normalized_score, task_name),
      # Its name alone: a run may go on where the file lies elsewhere.
      dataset=os.path.basename(dataset_path))
