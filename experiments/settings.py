"""From the settings of a run to an experiment, with contradictions refused."""

import dataclasses
import os
from typing import Optional, Tuple

from . import algorithms
from . import tasks
from .. import builders
from ..datasets import loading
from ..datasets.delivery import streaming
from ..launch import experiment_config

_DATA_DEFAULTS = {
    **dataclasses.asdict(loading.DataOptions()), 'data_mode': 'resident',
    'normalize_observations': False, 'shuffle_buffer': streaming.SHUFFLE_BUFFER}


def _steps_per_call(algorithm: str, flag: Optional[int]) -> dict[str, int]:
  """The option S, if a flag sets it; refuses one that contradicts gin."""
  if flag is None:
    return {}
  name = 'num_sgd_steps_per_step'
  found = algorithms.bound(algorithm).get(name, flag)
  if found != flag:
    raise ValueError(
        f'--{name}={flag} contradicts the gin binding {name}={found}. '
        'Remove one.')
  return {name: flag}


def _batch_size(algorithm: str, flag: Optional[int],
                num_sgd_steps_per_step: int) -> dict[str, int]:
  """The option B from the flag, which counts S * B as in the reference."""
  if flag is None:
    return {}
  if min(flag, num_sgd_steps_per_step) < 1 or flag % num_sgd_steps_per_step:
    raise ValueError(
        f'--batch_size={flag} must be a multiple of num_sgd_steps_per_step='
        f'{num_sgd_steps_per_step}: it holds the batches of all gradient steps '
        'of a learner step.')
  size = flag // num_sgd_steps_per_step
  found = algorithms.bound(algorithm).get('batch_size', size)
  if found != size:
    raise ValueError(
        f'--batch_size={flag} means {size} transitions per gradient step '
        f'(num_sgd_steps_per_step={num_sgd_steps_per_step}) and contradicts '
        f'the gin binding batch_size={found}. Remove one.')
  return {'batch_size': size}


def make_experiment(
    *,
    algorithm: str,
    task_class: str,
    task_name: str,
    root_dir: str,
    seed: int,
    num_steps: int,
    eval_every_steps: int,
    episodes_per_eval: int,
    batch_size: Optional[int] = None,
    num_sgd_steps_per_step: Optional[int] = None,
    dataset: Optional[str] = None,
    dataset_goal: Optional[Tuple[float, float]] = None,
    data_options: loading.DataOptions = loading.DataOptions(),
    normalize_observations: bool = False,
    data_mode: str = 'resident',
    shuffle_buffer: int = streaming.SHUFFLE_BUFFER,
    num_evaluators: int = 1,
) -> experiment_config.ExperimentConfig:
  """Makes an experiment; agents' options come from the gin bindings in force.

  Args:
    algorithm: one of `agents.ALGORITHMS`.
    task_class: see `tasks.make_task`.
    task_name: likewise.
    root_dir: directory of the run.
    seed: of everything.
    num_steps: learner steps, each of S gradient steps.
    eval_every_steps: learner steps between evaluations.
    episodes_per_eval: episodes of each.
    batch_size: S * B; None takes B from the agent's options.
    num_sgd_steps_per_step: S; None takes it from the agent's options.
    dataset: see `tasks.make_task`.
    dataset_goal: likewise.
    data_options: what is made of the data.
    normalize_observations: whether the agent sees them with mean 0 and standard
      deviation 1 over the dataset.
    data_mode: see `launch.ExperimentConfig`.
    shuffle_buffer: likewise.
    num_evaluators: evaluator nodes.

  Returns:
    The experiment; nothing is started or written yet.

  Raises:
    ValueError: if settings contradict each other or make no sense.
    FileNotFoundError: if the dataset is not there.
  """
  if algorithm not in algorithms.ALGORITHMS:
    raise ValueError(
        f'--algorithm={algorithm!r} is not one of {algorithms.ALGORITHMS}.')
  options = _steps_per_call(algorithm, num_sgd_steps_per_step)
  steps_per_call = (
      options or {'num_sgd_steps_per_step': 1, **algorithms.bound(algorithm)}
  )['num_sgd_steps_per_step']
  options.update(_batch_size(algorithm, batch_size, steps_per_call))
  agent = algorithms.make_agent(algorithm, **options)
  task = tasks.make_task(
      task_class, task_name, dataset, goal=dataset_goal, options=data_options,
      discount=getattr(agent.config, 'discount', 1.),
      in_blocks=data_mode == 'stream')
  # Those that make the run another one; a run of before they existed is one
  # with all of them at their defaults.
  data = {**dataclasses.asdict(data_options), 'data_mode': data_mode,
          'normalize_observations': normalize_observations}
  if data_mode == 'stream':
    data['shuffle_buffer'] = shuffle_buffer
  data = {name: value for name, value in data.items()
          if value != _DATA_DEFAULTS[name]}
  builder = agent.builder
  if normalize_observations:
    builder = builders.NormalizingBuilder(builder)
  return experiment_config.ExperimentConfig(
      builder=builder,
      network_factory=agent.network_factory,
      dataset_factory=task.dataset_factory,
      environment_factory=task.environment_factory,
      root_dir=root_dir,
      seed=seed,
      num_steps=num_steps,
      num_sgd_steps_per_step=agent.config.num_sgd_steps_per_step,
      eval_every_steps=eval_every_steps,
      episodes_per_eval=episodes_per_eval,
      variables=builder.variable_names,
      num_evaluators=num_evaluators,
      score_fn=task.score_fn,
      config={
          'algorithm': algorithm,
          'task_class': task_class,
          'task_name': task_name,
          'dataset': task.dataset,
          'agent': algorithms.to_json(agent.config),
          **({'data': data} if data else {}),
      },
      data_mode=data_mode,
      shuffle_buffer=shuffle_buffer)


def default_root_dir(task_name: str, algorithm: str, seed: int) -> str:
  """Where a run goes that does not say so, below the working directory."""
  return os.path.join('runs', f'{task_name}-{algorithm}-seed{seed}')
