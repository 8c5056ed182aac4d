"""Flags, and the progress bar, that the commands on datasets share."""

from typing import Generator

from absl import flags
import tqdm

from . import ogbench
from . import sources
from . import steps as steps_lib


def define() -> list[str]:
  """Defines the flags that `find` needs, and returns their names."""
  flags.DEFINE_string(
      'task_name', '', 'The task of the data, such as antmaze-large-play-v2.')
  flags.DEFINE_integer(
      'episode_limit', None,
      'Steps after which episodes were truncated, for an HDF5 file without the '
      'field timeouts; by default the limit of the task.', lower_bound=1)
  flags.DEFINE_list(
      'dataset_goal', None,
      "X,Y: the goal for which rewards are computed, in OGBench's mazes.")
  return ['task_name', 'episode_limit', 'dataset_goal']


def find(dataset: str) -> steps_lib.Source:
  """Returns the source of a dataset, using the flags; see `sources.find`."""
  return sources.find(
      dataset, flags.FLAGS.task_name, episode_limit=flags.FLAGS.episode_limit,
      goal=ogbench.parse_goal(flags.FLAGS.dataset_goal))


def read(
    source: steps_lib.Source, description: str,
) -> Generator[steps_lib.Steps, None, None]:
  """Yields the blocks of a dataset and shows their progress on the terminal."""
  with tqdm.tqdm(unit=' steps', unit_scale=True, desc=description) as bar:
    for steps in source.blocks():
      yield steps
      bar.update(len(steps.reward))
