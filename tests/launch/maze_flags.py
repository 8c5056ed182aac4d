"""A user's experiments with a flag, for the tests of the command lines."""

import dataclasses

from absl import flags
import maze

_DIRECTORY = flags.DEFINE_string('directory', None, 'Of the run.')


def make_experiment():
  """Returns the tiny experiment."""
  return maze.make_experiment(_DIRECTORY.value)


def make_broken_experiment():
  """Returns an experiment whose data cannot be read."""
  return dataclasses.replace(make_experiment(), dataset_factory=_fail)


def _fail():
  raise OSError('the disk is broken')
