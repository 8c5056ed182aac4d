"""What a task name stands for: dataset, environment and score."""

import dataclasses
import functools
import os
from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple

import dm_env
import numpy as np

from .. import environments
from ..datasets import data_options
from ..datasets import delivery
from ..datasets import identity
from ..datasets import loading
from ..datasets import pointmaze_generator
from ..datasets import sources
from ..datasets import steps
from ..environments import pointmaze

TASK_CLASSES = ('pointmaze', 'd4rl')


@dataclasses.dataclass(frozen=True)
class TaskConfig:
  """Names a task and its dataset.

  Attributes:
    task_class: 'pointmaze', the embedded tasks, whose data is generated on
      first use, or 'd4rl'.
    task_name: such as 'pointmaze-umaze-diverse' or 'antmaze-umaze-v2'.
    dataset: what `sources.find` takes, to use instead of the task's own
      dataset.
    dataset_goal: x and y of the goal, for OGBench's mazes; see `sources.find`.
  """
  task_class: str = 'pointmaze'
  task_name: str = 'pointmaze-umaze-diverse'
  dataset: Optional[str] = None
  dataset_goal: Optional[Tuple[float, float]] = None


class Task(NamedTuple):
  """A task; all members can be pickled.

  Attributes:
    dataset_factory: reads the dataset, whole or in blocks.
    environment_factory: maps a seed to the environment.
    score_fn: maps returns `[episodes]` to normalised scores `[episodes]`, or
      to None if the task has none (docs/msg.md 8.4).
    dataset: name of the dataset, for the run's record.
    identity: returns what identifies the dataset, see `datasets.identity`.
  """
  dataset_factory: Callable[[], delivery.Dataset]
  environment_factory: Callable[[int], dm_env.Environment]
  score_fn: Callable[[np.ndarray], Optional[np.ndarray]]
  dataset: str
  identity: Callable[[], Mapping[str, Any]]


def _identify(
    source: Optional[steps.Source], task_name: str) -> Mapping[str, Any]:
  """Identifies a source; None is the embedded data, which may be missing."""
  if source is not None:
    return identity.identify(source)
  path = pointmaze_generator.dataset_path(task_name)
  found = (identity.identify(sources.find(path, task_name))
           if os.path.exists(path) else {'path': path})
  return {**found, 'kind': 'pointmaze', 'name': os.path.basename(path)}


def _read(
    source: Optional[steps.Source], task_name: str,
    options: data_options.DataOptions, discount: float, in_blocks: bool,
) -> delivery.Dataset:
  """Reads a source; None is the embedded data, generated on first use."""
  if source is None:
    source = sources.find(pointmaze_generator.ensure(task_name), task_name)
  read = loading.transition_blocks if in_blocks else loading.load
  return read(source, task_name, options, discount)


def make_task(
    config: TaskConfig,
    *,
    options: data_options.DataOptions = data_options.DataOptions(),
    discount: float = 0.99,
    in_blocks: bool = False,
) -> Task:
  """Makes a task.

  Args:
    config: names the task and its dataset.
    options: which episodes, rewards and steps are used.
    discount: discount of n-step returns.
    in_blocks: whether the dataset is read block by block, in bounded memory.

  Raises:
    ValueError: if there is no such task class or task, or if the dataset's
      name is ambiguous.
    FileNotFoundError: if there is no such dataset.
  """
  if config.task_class not in TASK_CLASSES:
    raise ValueError(
        f'--task_class={config.task_class!r} is not one of {TASK_CLASSES}.')
  if config.task_class == 'pointmaze':
    pointmaze.get_task(config.task_name)  # Raises if there is no such task.
  elif config.task_name in pointmaze.task_names():
    raise ValueError(
        f'--task_name={config.task_name!r} belongs to --task_class=pointmaze, '
        f'not to {config.task_class!r}; change one of them.')
  source = None
  if config.dataset or config.task_class == 'd4rl':
    source = sources.find(
        config.dataset or '', config.task_name, goal=config.dataset_goal)
  return Task(
      dataset_factory=functools.partial(
          _read, source, config.task_name, options, discount, in_blocks),
      environment_factory=functools.partial(
          environments.make_environment, config.task_class, config.task_name),
      score_fn=functools.partial(
          environments.normalized_score, config.task_name),
      identity=functools.partial(_identify, source, config.task_name),
      # The base name alone: a run may continue after its file was moved.
      dataset=os.path.basename(
          source.name if source
          else pointmaze_generator.dataset_path(config.task_name)))
