"""What a task name stands for: data, environment and score."""

import functools
import os
from typing import Callable, NamedTuple, Optional, Tuple

import dm_env
import numpy as np

from .. import environments
from ..datasets import pointmaze_generator
from ..datasets import loading
from ..datasets import sources
from ..datasets import steps
from ..launch import data_node

TASK_CLASSES = ('pointmaze', 'd4rl')


class Task(NamedTuple):
  """A task, of parts that can be sent to other processes.

  Attributes:
    dataset_factory: reads the dataset, whole or in blocks.
    environment_factory: maps a seed to the environment.
    score_fn: maps returns to normalised scores, or to None if there are none.
    dataset: what the data is, for the run's record.
  """
  dataset_factory: Callable[[], data_node.Dataset]
  environment_factory: Callable[[int], dm_env.Environment]
  score_fn: Callable[[np.ndarray], Optional[np.ndarray]]
  dataset: str


def _read(
    source: steps.Source, task_name: str, options: loading.DataOptions,
    discount: float, in_blocks: bool,
) -> data_node.Dataset:
  read = sources.transition_blocks if in_blocks else sources.load
  return read(source, task_name, options, discount)


def _read_pointmaze(task_name: str, *args) -> data_node.Dataset:
  """Reads the embedded data, which is made if it is not there."""
  source = sources.find(pointmaze_generator.ensure(task_name), task_name)
  return _read(source, task_name, *args)


def make_task(
    task_class: str,
    task_name: str,
    dataset: Optional[str] = None,
    *,
    goal: Optional[Tuple[float, float]] = None,
    options: loading.DataOptions = loading.DataOptions(),
    discount: float = 0.99,
    in_blocks: bool = False,
) -> Task:
  """Puts a task together.

  Args:
    task_class: 'pointmaze', whose data is made on first use, or 'd4rl'.
    task_name: such as 'pointmaze-umaze-diverse' or 'antmaze-umaze-v2'.
    dataset: what `sources.find` takes, to use instead of the task's own.
    goal: see `sources.find`.
    options: what is made of the data.
    discount: of n-step returns.
    in_blocks: whether the dataset is read block by block, in bounded memory.

  Returns:
    The task.

  Raises:
    ValueError: if there is no such task class or task, or the dataset's name
      is not clear.
    FileNotFoundError: if there is no such dataset.
  """
  if task_class not in TASK_CLASSES:
    raise ValueError(
        f'--task_class={task_class!r} is not one of {TASK_CLASSES}.')
  if dataset or task_class == 'd4rl':
    source = sources.find(dataset or '', task_name, goal=goal)
    name, read = source.name, functools.partial(_read, source)
  else:
    name, read = pointmaze_generator.dataset_path(task_name), _read_pointmaze
  return Task(
      dataset_factory=functools.partial(
          read, task_name, options, discount, in_blocks),
      environment_factory=functools.partial(
          environments.make_environment, task_class, task_name),
      score_fn=functools.partial(environments.normalized_score, task_name),
      # Its name alone: a run may go on where the file lies elsewhere.
      dataset=os.path.basename(name))
