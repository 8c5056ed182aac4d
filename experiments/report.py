"""What a finished run is told by: a line, a learning curve, a picture."""

import os

import numpy as np

from ..launch import evaluations
from ..launch import experiment as experiment_lib


def final_score(root_dir: str) -> float:
  """The mean result of a run's last evaluation.

  Args:
    root_dir: the run's directory.

  Returns:
    The mean normalised score or, where the task has none, the mean return.
  """
  last = list(evaluations.load(root_dir).values())[-1]
  return float(np.mean(last.returns if last.scores is None else last.scores))


def write(experiment: experiment_lib.ExperimentConfig):
  """Placeholder."""
