"""The settings of a run, and the experiment that they describe."""

import dataclasses
import os
from typing import Any, Mapping, Optional

from . import algorithms
from . import gin_options
from . import tasks
from .. import builders
from ..datasets import data_options
from ..launch import experiment_config

_NUM_STEPS = 1_000_000
_EVAL_EVERY_STEPS = 10_000
_MAX_DEFAULT_EVALUATIONS = 20


@dataclasses.dataclass(frozen=True)
class AgentConfig:
  """Names an agent; the gin bindings in force give its other options.

  Attributes:
    algorithm: one of `algorithms.OPTIONS`.
    batch_size: transitions of a learner step, S * B as in the reference
      implementation; None leaves B to the agent's option.
    num_sgd_steps_per_step: S, gradient steps of a learner step; None leaves S
      to the agent's option.
  """
  algorithm: str = 'msg'
  batch_size: Optional[int] = None
  num_sgd_steps_per_step: Optional[int] = None


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """How a dataset is used.

  Attributes:
    options: which episodes, rewards and steps are used.
    normalize_observations: whether the agent sees observations with mean 0 and
      standard deviation 1 over the dataset.
    stream: how the dataset is streamed; None if the learner holds all of it.
  """
  options: data_options.DataOptions = data_options.DataOptions()
  normalize_observations: bool = False
  stream: Optional[experiment_config.StreamConfig] = None

  def record(self) -> Mapping[str, Any]:
    """Returns the values that are not defaults, for the run's record.

    Only these are recorded, so that runs from before an option existed still
    resume.
    """
    record = _changed(self.options, data_options.DataOptions())
    if self.normalize_observations:
      record['normalize_observations'] = True
    if self.stream is not None:
      record.update(
          data_mode='stream',
          **_changed(self.stream, experiment_config.StreamConfig()))
    return record


def _changed(config: Any, default: Any) -> dict[str, Any]:
  """Returns the fields of a dataclass that differ from a default instance."""
  defaults = dataclasses.asdict(default)
  return {name: value for name, value in dataclasses.asdict(config).items()
          if value != defaults[name]}


@dataclasses.dataclass(frozen=True)
class Budget:
  """Number of learner steps and of evaluations.

  `num_steps` and `eval_every_steps` have defaults that fit the other one:

  * Neither is given: 1,000,000 and 10,000.
  * `num_steps` alone: `eval_every_steps` is 10,000 if that divides `num_steps`,
    else the least divisor of `num_steps` that gives at most 20 evaluations.
  * `eval_every_steps` alone: `num_steps` is its first multiple from 1,000,000.

  Attributes:
    num_steps: learner steps of the whole run, each of S gradient steps.
    eval_every_steps: learner steps between evaluations; divides `num_steps`.
    episodes_per_eval: episodes of each evaluation.
  """
  num_steps: Optional[int] = None
  eval_every_steps: Optional[int] = None
  episodes_per_eval: int = 10

  def resolved(self) -> 'Budget':
    """Returns the budget with its defaults filled in."""
    num_steps, every = self.num_steps, self.eval_every_steps
    if num_steps is None:
      num_steps = _NUM_STEPS
      if every is not None and every > 0:
        num_steps += -num_steps % every
    if every is None:
      every = _EVAL_EVERY_STEPS
      if num_steps > 0 and num_steps % every:
        every = next(
            num_steps // evaluations
            for evaluations in range(_MAX_DEFAULT_EVALUATIONS, 0, -1)
            if num_steps % evaluations == 0)
    return dataclasses.replace(
        self, num_steps=num_steps, eval_every_steps=every)


def make_agent(config: AgentConfig) -> algorithms.Agent:
  """Makes an agent from its config and the gin bindings in force.

  Raises:
    ValueError: if there is no such algorithm, if a binding belongs to another
      algorithm, if config and bindings contradict each other, or if the options
      are invalid.
  """
  if config.algorithm not in algorithms.OPTIONS:
    raise ValueError(f'--algorithm={config.algorithm!r} is not one of '
                     f'{tuple(algorithms.OPTIONS)}.')
  bindings = {name: gin_options.bound(name) for name in algorithms.OPTIONS}
  bound = bindings.pop(config.algorithm)
  for other, names in bindings.items():
    if names:
      raise ValueError(
          f'The bindings of {", ".join(sorted(names))} are for --algorithm='
          f'{other}, but --algorithm={config.algorithm} was asked for, which '
          'does not read them.')
  options = dict(bound)

  def set_option(name: str, value: int, flag: str):
    if bound.get(name, value) != value:
      raise ValueError(f'{flag} contradicts the gin binding '
                       f'{name}={bound[name]}. Remove one of them.')
    options[name] = value

  name, steps = 'num_sgd_steps_per_step', config.num_sgd_steps_per_step
  if steps is not None:
    set_option(name, steps, f'--{name}={steps}')
  steps, total = options.get(name, 1), config.batch_size
  if total is not None:
    if min(total, steps) < 1 or total % steps:
      raise ValueError(
          f'--batch_size={total} must be a multiple of {name}={steps}: it '
          'holds the batches of all gradient steps of a learner step.')
    size = total // steps
    set_option('batch_size', size, (
        f'--batch_size={total} means {size} transitions per gradient step '
        f'({name}={steps}) and'))
  # The plain class, because the subclass that gin makes cannot be pickled.
  return algorithms.make_agent(algorithms.OPTIONS[config.algorithm](**options))


def make_experiment(
    agent_config: AgentConfig,
    task_config: tasks.TaskConfig,
    budget: Budget,
    data: DataConfig = DataConfig(),
    *,
    seed: int = 1,
    root_dir: Optional[str] = None,
    num_evaluators: int = 1,
) -> experiment_config.ExperimentConfig:
  """Makes an experiment; nothing is started or written.

  Gin bindings in force give the agent's options. The run's directory is
  runs/TASK-ALGORITHM-seedSEED by default.

  Raises:
    ValueError: if settings contradict each other or are invalid.
    FileNotFoundError: if the dataset does not exist.
  """
  agent = make_agent(agent_config)
  task = tasks.make_task(
      task_config, options=data.options,
      discount=getattr(agent.config, 'discount', 1.),
      in_blocks=data.stream is not None)
  builder, record = agent.builder, data.record()
  if data.normalize_observations:
    builder = builders.NormalizingBuilder(builder)
  if root_dir is None:
    root_dir = os.path.join('runs', '-'.join([
        task_config.task_name, agent_config.algorithm, f'seed{seed}']))
  return experiment_config.ExperimentConfig(
      builder=builder,
      network_factory=agent.network_factory,
      dataset_factory=task.dataset_factory,
      dataset_identity=task.identity,
      environment_factory=task.environment_factory,
      root_dir=root_dir,
      seed=seed,
      **dataclasses.asdict(budget.resolved()),
      num_sgd_steps_per_step=agent.config.num_sgd_steps_per_step,
      variables=builder.variable_names,
      num_evaluators=num_evaluators,
      score_fn=task.score_fn,
      config={
          'algorithm': agent_config.algorithm,
          'task_class': task_config.task_class,
          'task_name': task_config.task_name,
          'dataset': task.dataset,
          'agent': algorithms.to_json(agent.config),
          **({'data': record} if record else {}),
      },
      stream=data.stream)
