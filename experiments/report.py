"""Results, pictures and the exported policy of a finished run."""

import dataclasses
import os
import sys
from typing import Any, Callable, List, Optional, Sequence, Tuple

from acme import types
import jax
import numpy as np

from . import maze_picture
from . import plots
from .. import builders
from .. import networks as networks_lib
from ..builders import normalizing
from ..launch import checkpointing
from ..launch import evaluations
from ..launch import experiment_config

# Number of episodes in the picture of a maze.
_NUM_TRAJECTORIES = 20


def final_score(root_dir: str, num_evaluations: int = 1) -> float:
  """Returns the mean result of the last evaluations of the run in `root_dir`.

  Results are normalised scores or, where the task has none, returns.
  """
  last = list(evaluations.load(root_dir).values())[-num_evaluations:]
  return float(np.mean([
      e.returns if e.scores is None else e.scores for e in last]))


def try_to_draw(picture: str, draw_it: Callable[[], None]) -> List[str]:
  """Draws a picture; prints one line if that fails, because the run succeeded.

  Returns `[picture]`, its path, or `[]` if it could not be drawn.
  """
  try:
    draw_it()
  except Exception as e:  # A library may raise anything here.
    reason = ' '.join(f'{type(e).__name__}: {e}'.split())
    print(f'warning: {picture} was not drawn: {reason}', file=sys.stderr)
    return []
  return [picture]


def draw(experiment: experiment_config.ExperimentConfig) -> List[str]:
  """Draws the learning curve and, for MSG in a point maze, `maze.png`.

  Returns paths of the pictures, in the run's directory. A picture that cannot
  be drawn is left out; one line on stderr tells the reason.
  """
  record, root_dir = experiment.config, experiment.root_dir
  curve = os.path.join(root_dir, 'learning_curve.png')
  pictures = try_to_draw(curve, lambda: plots.learning_curve(
      {record['algorithm']: root_dir}, curve, record['task_name']))
  has_critics = 'ensemble_size' in record['agent']
  if record['task_class'] == 'pointmaze' and has_critics:
    maze = os.path.join(root_dir, 'maze.png')
    pictures += try_to_draw(maze, lambda: _draw_maze(experiment, maze))
  return pictures


def _draw_maze(experiment: experiment_config.ExperimentConfig, picture: str):
  """Draws values, data and trajectories of a run of MSG in a point maze."""
  task_name = experiment.config['task_name']
  dataset: Any = experiment.dataset_factory()
  if not isinstance(dataset, types.Transition):
    dataset = next(dataset)  # The first of its blocks.
  maze_picture.draw(
      picture, task_name, *trained_networks(experiment), dataset,
      maze_picture.rollouts(
          task_name, *_trained_policy(experiment), _NUM_TRAJECTORIES,
          experiment.seed))


def trained_networks(
    experiment: experiment_config.ExperimentConfig,
) -> Tuple[networks_lib.MSGNetworks, Any, Any]:
  """Reads MSG's networks from a run's last checkpoint.

  Returns:
    The networks, which take the environment's (not normalised) observations;
    the policy's params; and the params of all critics, as NumPy arrays.

  Raises:
    ValueError: if there is no checkpoint, or if it is of other networks.
  """
  networks, params, statistics = _restore(experiment, ['policy', 'critic'])
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

  Returns its directory, `root_dir/saved_model/STEP`, where STEP is the last
  gradient step; TensorFlow Serving reads it as a version. An existing directory
  is not changed.
  """
  step = experiment.gradient_steps(experiment.num_steps)
  path = os.path.join(experiment.root_dir, 'saved_model', str(step))
  if not os.path.exists(path):
    from . import saved_model  # Here, because it imports TensorFlow.
    saved_model.export(
        path, *_trained_policy(experiment),
        experiment.environment_spec().observations.shape[0])
  return path


def _trained_policy(
    experiment: experiment_config.ExperimentConfig,
) -> Tuple[Callable[..., jax.Array], Any]:
  """Returns the evaluated policy and its final params."""
  networks, params, statistics = _restore(experiment, [
      name for name in experiment.variables if name in ('policy', 'critic')])
  if statistics:
    params.append(statistics)
  policy = experiment.builder.make_policy(
      networks, experiment.environment_spec(), True)
  return policy, params if len(params) > 1 else params[0]


def _restore(
    experiment: experiment_config.ExperimentConfig, names: Sequence[str],
) -> Tuple[Any, List[Any], Optional[normalizing.Statistics]]:
  """Returns the networks, the params of the named ones, and the statistics."""
  spec = experiment.environment_spec()
  networks = experiment.network_factory(spec)
  # The networks of behaviour cloning are the policy itself.
  like: Any = {f'{name}_params': jax.eval_shape(
      getattr(networks, name, networks).init, jax.random.PRNGKey(0))
               for name in names}
  normalizes = isinstance(experiment.builder, builders.NormalizingBuilder)
  if normalizes:
    observation: Any = jax.ShapeDtypeStruct(spec.observations.shape, np.float32)
    like = {'learner': like,
            'statistics': normalizing.Statistics(observation, observation)}
  restored = checkpointing.restore_variables(experiment.root_dir, like)
  params = restored['learner'] if normalizes else restored
  return (networks, [params[f'{name}_params'] for name in names],
          restored['statistics'] if normalizes else None)
