"""What a finished run leaves to look at: results, pictures, the policy."""

import os
from typing import List

import jax
import numpy as np

from . import maze_picture
from . import plots
from . import saved_model
from .. import networks as networks_lib
from ..launch import checkpointing
from ..launch import evaluations
from ..launch import experiment as experiment_lib

# Episodes in the picture of a maze.
_NUM_TRAJECTORIES = 20


def final_score(root_dir: str) -> float:
  """The mean result of a run's last evaluation.

  Args:
    root_dir: the run's directory.

  Returns:
    The mean normalised score or, where the task has none, the mean return.
  """
  *_, last = evaluations.load(root_dir).values()
  return float(np.mean(last.returns if last.scores is None else last.scores))


def draw(experiment: experiment_lib.ExperimentConfig) -> List[str]:
  """Draws the learning curve and, for MSG in a maze, values and ways.

  Args:
    experiment: a finished one.

  Returns:
    The pictures' paths; they are in the run's directory.
  """
  root_dir = experiment.root_dir
  record = experiment.config
  curve = os.path.join(root_dir, 'learning_curve.png')
  plots.learning_curve(
      {record['algorithm']: root_dir}, curve, record['task_name'])
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  if (record['task_class'] != 'pointmaze'
      or not isinstance(networks, networks_lib.MSGNetworks)):
    return [curve]
  picture = os.path.join(root_dir, 'maze.png')
  policy_params, critic_params = maze_picture.load_params(root_dir, networks)
  available = {'policy': policy_params, 'critic': critic_params}
  params = [available[name] for name in experiment.variables]
  trajectories = maze_picture.rollouts(
      record['task_name'],
      experiment.builder.make_policy(networks, spec, True),
      params if len(params) > 1 else params[0],
      _NUM_TRAJECTORIES, experiment.seed)
  maze_picture.draw(
      picture, record['task_name'], networks, policy_params, critic_params,
      experiment.dataset_factory(), trajectories)
  return [curve, picture]


def check_exportable(experiment: experiment_lib.ExperimentConfig):
  """Raises ValueError if the policy that is evaluated needs the critics."""
  if tuple(experiment.variables) != ('policy',):
    raise ValueError(
        '--create_saved_model_actor writes the policy alone, but eval_mode='
        "'q_filter' also needs the critics; use 'sample' or 'mode'.")


def export_policy(experiment: experiment_lib.ExperimentConfig) -> str:
  """Writes the final policy as a TensorFlow SavedModel.

  Args:
    experiment: a finished one that is exportable.

  Returns:
    The SavedModel's directory, `root_dir/saved_model`; it is left alone if it
    exists, as it can only be that of the same run.
  """
  path = os.path.join(experiment.root_dir, 'saved_model')
  if os.path.exists(path):
    return path
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  policy = getattr(networks, 'policy', networks)
  params = checkpointing.restore_variables(experiment.root_dir, {
      'policy_params': jax.eval_shape(policy.init, jax.random.PRNGKey(0))})
  saved_model.export(
      path, experiment.builder.make_policy(networks, spec, True),
      params['policy_params'], spec.observations.shape[0])
  return path
