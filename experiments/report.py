"""What a finished run leaves to look at: results, pictures, the policy."""

import dataclasses
import os
from typing import Any, List, Optional, Sequence, Tuple

from acme import specs
from acme import types
import jax
import numpy as np

from . import maze_picture
from . import plots
from . import saved_model
from .. import builders
from .. import networks as networks_lib
from ..builders import normalizing
from ..launch import checkpointing
from ..launch import evaluations
from ..launch import experiment_config

# Episodes in the picture of a maze.
_NUM_TRAJECTORIES = 20


def final_score(root_dir: str, num_evaluations: int = 1) -> float:
  """The mean result of a run's last evaluations.

  Args:
    root_dir: the run's directory.
    num_evaluations: how many of them to average over.

  Returns:
    The mean normalised score or, where the task has none, the mean return.
  """
  last = list(evaluations.load(root_dir).values())[-num_evaluations:]
  return float(np.mean([
      e.returns if e.scores is None else e.scores for e in last]))


def draw(experiment: experiment_config.ExperimentConfig) -> List[str]:
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
  trajectories = maze_picture.rollouts(
      record['task_name'],
      experiment.builder.make_policy(networks, spec, True),
      _acting_params(experiment, networks, spec), _NUM_TRAJECTORIES,
      experiment.seed)
  maze_picture.draw(
      picture, record['task_name'], *trained_networks(experiment),
      _some_data(experiment), trajectories)
  return [curve, picture]


def trained_networks(
    experiment: experiment_config.ExperimentConfig,
) -> Tuple[networks_lib.MSGNetworks, Any, Any]:
  """Reads what MSG has learned from a run's last checkpoint.

  Args:
    experiment: a run of MSG.

  Returns:
    Policy and critics, which take observations as the environment gives them,
    then the policy's params and all members', as NumPy arrays.

  Raises:
    ValueError: if there is no checkpoint, or one of other networks.
  """
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  params, statistics = _load_params(
      experiment, networks, spec, ['policy', 'critic'])
  if statistics:
    def normalized(apply):
      return lambda params, observation, *args: apply(
          params, statistics.apply(observation), *args)

    networks = networks_lib.MSGNetworks(
        networks.policy._replace(apply=normalized(networks.policy.apply)),
        dataclasses.replace(
            networks.critic, apply=normalized(networks.critic.apply)))
  return (networks, *params)


def export_policy(experiment: experiment_config.ExperimentConfig) -> str:
  """Writes the final policy as a TensorFlow SavedModel.

  Args:
    experiment: a finished one.

  Returns:
    The SavedModel's directory, `root_dir/saved_model/STEP`: the last gradient
    step is its version, as TensorFlow Serving expects it. What is there
    already is left alone.
  """
  step = experiment.gradient_steps(experiment.num_steps)
  path = os.path.join(experiment.root_dir, 'saved_model', str(step))
  if os.path.exists(path):
    return path
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  saved_model.export(
      path, experiment.builder.make_policy(networks, spec, True),
      _acting_params(experiment, networks, spec), spec.observations.shape[0])
  return path


def _some_data(experiment) -> types.Transition:
  """The dataset, or where it comes in blocks the first of them."""
  dataset = experiment.dataset_factory()
  return dataset if isinstance(dataset, types.Transition) else next(dataset)


def _acting_params(experiment, networks, spec):
  """The final params of the policy that is evaluated."""
  params, statistics = _load_params(experiment, networks, spec, [
      name for name in experiment.variables if name in ('policy', 'critic')])
  if statistics:
    params.append(statistics)
  return params if len(params) > 1 else params[0]


def _load_params(
    experiment: experiment_config.ExperimentConfig, networks: Any,
    spec: specs.EnvironmentSpec, names: Sequence[str],
) -> Tuple[List[Any], Optional[normalizing.Statistics]]:
  """Reads the params of 'policy' or 'critic', and any statistics with them."""
  key = jax.random.PRNGKey(0)
  # Cloning's networks are the policy.
  like = {f'{name}_params': jax.eval_shape(
      getattr(networks, name, networks).init, key) for name in names}
  if not isinstance(experiment.builder, builders.NormalizingBuilder):
    own = checkpointing.restore_variables(experiment.root_dir, like)
    statistics = None
  else:
    observation = jax.ShapeDtypeStruct(spec.observations.shape, np.float32)
    restored = checkpointing.restore_variables(experiment.root_dir, {
        'learner': like,
        'statistics': normalizing.Statistics(observation, observation)})
    own, statistics = restored['learner'], restored['statistics']
  return [own[f'{name}_params'] for name in names], statistics
