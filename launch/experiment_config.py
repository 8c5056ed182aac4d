"""What one experiment is: agent, data, environment, budget and evaluation."""

import dataclasses
import json
import numbers
import os
from typing import Any, Callable, Mapping, Optional, Sequence

from acme import specs
import dm_env
import numpy as np

from ..datasets import delivery

# Learners count gradient steps in int32.
_MAX_INT = 2**31 - 1
# Far more than anybody runs; a typing error of some zeros is found.
_LIMITS = {'episodes_per_eval': 1_000_000, 'num_evaluators': 1_000,
           'num_learner_hosts': 10_000}


def _check_positive(**values: Any) -> None:
  for name, value in values.items():
    is_integer = isinstance(value, numbers.Integral) and value is not True
    if not is_integer or value < 1:
      raise ValueError(f'{name} must be a positive integer, not {value!r}.')
    limit = _LIMITS.get(name, _MAX_INT)
    if value > limit:
      raise ValueError(f'{name} must be at most {limit:,}, not {value:,}.')


@dataclasses.dataclass(frozen=True)
class StreamConfig:
  """A dataset that the data node sends as batches of shuffled epochs.

  Attributes:
    shuffle_buffer: transitions that are shuffled at once; the learner's process
      holds about three times as many.
    transitions_per_step: transitions of one learner step, over all hosts; None
      takes the builder's attribute of this name.

  Raises:
    ValueError: naming the field, if a value is no positive integer.
  """
  shuffle_buffer: int = delivery.SHUFFLE_BUFFER
  transitions_per_step: Optional[int] = None

  def __post_init__(self):
    _check_positive(shuffle_buffer=self.shuffle_buffer)
    if self.transitions_per_step is not None:
      _check_positive(transitions_per_step=self.transitions_per_step)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
  """One offline experiment, the same for one process and for many.

  A *gradient step* is one update of the agent. A *learner step* is one call of
  `learner.step()`, which runs S gradient steps. The budgets below are in
  learner steps; everything on disk (checkpoints, logs, evaluations) is numbered
  by gradient steps. All fields must be picklable, because every node of a
  program receives the experiment.

  Attributes:
    builder: the agent, any Acme `OfflineBuilder`.
    network_factory: maps an environment spec to the agent's networks.
    dataset_factory: reads, checks and returns the dataset: a `Transition` of T
      rows, or an iterator of blocks of rows if it may not fit in memory. It is
      called once, in the data node's process.
    environment_factory: maps a seed to an environment.
    root_dir: the run's directory: `config.json`, `checkpoints`, `logs`,
      `tensorboard` and `evaluations.npz`. An existing run is resumed. Stored as
      an absolute path.
    seed: seed of the learner, the evaluating actors and the environments.
    num_steps: the absolute number of learner steps; a resumed run trains only
      the missing ones.
    num_sgd_steps_per_step: S, the gradient steps of one learner step; the
      learner must increase Acme's counter `learner_steps` by S in each.
    eval_every_steps: learner steps between evaluations; divides `num_steps`.
    episodes_per_eval: episodes run with each evaluated set of weights.
    config: the resolved settings behind builder, networks, dataset and
      environment, written into `config.json`. A run is resumed with equal
      settings only.
    variables: names of the learner's variables that its actors ask for.
    num_evaluators: evaluator nodes of a program.
    num_learner_hosts: H, the learner nodes of a program, each on its own host
      or all on one machine as a rehearsal. A run may resume with another H.
    checkpoint_every_steps: learner steps between checkpoints; None means
      `eval_every_steps`.
    stream: how the dataset is streamed; None if the learner holds all of it.
    score_fn: maps returns `[episodes]` to normalised scores `[episodes]`, or to
      None if the task has none.
    dataset_identity: returns plain JSON values that identify the data of
      `dataset_factory`, such as `datasets.identify(source)`. `config.json`
      holds them as `data`, with the number of transitions. A run is resumed
      with equal values only, except for `kind`, `name` and `path`. None: the
      number of transitions alone is compared.

  Raises:
    ValueError: naming the field, if a value is not valid.
  """
  builder: Any
  network_factory: Callable[[specs.EnvironmentSpec], Any]
  dataset_factory: Callable[[], delivery.Dataset]
  environment_factory: Callable[[int], dm_env.Environment]
  root_dir: str
  seed: int
  num_steps: int
  num_sgd_steps_per_step: int
  eval_every_steps: int
  episodes_per_eval: int
  config: Mapping[str, Any]
  variables: Sequence[str] = ('policy',)
  num_evaluators: int = 1
  num_learner_hosts: int = 1
  checkpoint_every_steps: Optional[int] = None
  stream: Optional[StreamConfig] = None
  score_fn: Optional[Callable[[np.ndarray], Optional[np.ndarray]]] = None
  dataset_identity: Optional[Callable[[], Mapping[str, Any]]] = None

  def __post_init__(self):
    if not self.root_dir:
      raise ValueError('root_dir is empty: name the directory of the run.')
    if '\0' in self.root_dir:
      raise ValueError(f'root_dir={self.root_dir!r} holds a NUL character.')
    object.__setattr__(  # The dataclass is frozen.
        self, 'root_dir', os.path.abspath(os.path.expanduser(self.root_dir)))
    _check_positive(**{name: getattr(self, name) for name in (
        'num_steps', 'num_sgd_steps_per_step', 'eval_every_steps',
        'episodes_per_eval', 'num_evaluators', 'num_learner_hosts')})
    if self.gradient_steps(self.num_steps) > _MAX_INT:
      raise ValueError(
          f'num_steps={self.num_steps:,} of num_sgd_steps_per_step='
          f'{self.num_sgd_steps_per_step:,} gradient steps are '
          f'{self.gradient_steps(self.num_steps):,}, but at most {_MAX_INT:,} '
          'are counted; use fewer.')
    if self.checkpoint_every_steps is not None:
      _check_positive(checkpoint_every_steps=self.checkpoint_every_steps)
    if self.stream is not None and self.transitions_per_step is None:
      raise ValueError(
          'stream.transitions_per_step must be given: the builder does not say '
          'how many transitions its learner takes in each step.')
    if (self.stream is not None
        and self.transitions_per_step % self.num_learner_hosts):
      raise ValueError(
          f'num_learner_hosts={self.num_learner_hosts} does not divide the '
          f'{self.transitions_per_step} transitions of a learner step, which '
          'the hosts read in equal parts.')
    if (not isinstance(self.seed, numbers.Integral)
        or not 0 <= self.seed < 2**32):
      raise ValueError(f'seed must be in [0, 2**32), not {self.seed!r}.')
    if self.num_steps % self.eval_every_steps:
      raise ValueError(
          f'eval_every_steps={self.eval_every_steps} does not divide '
          f'num_steps={self.num_steps}: the last evaluation must be that of '
          'the final weights.')
    try:
      json.dumps(self.config)
    except TypeError as e:
      raise ValueError(f'config must be plain JSON values: {e}.') from e

  @property
  def checkpoint_period(self) -> int:
    """Learner steps between checkpoints."""
    return self.checkpoint_every_steps or self.eval_every_steps

  @property
  def transitions_per_step(self) -> Optional[int]:
    """Transitions of a streamed learner step, over all hosts, if known."""
    if self.stream is not None and self.stream.transitions_per_step is not None:
      return self.stream.transitions_per_step
    return getattr(self.builder, 'transitions_per_step', None)

  def gradient_steps(self, learner_steps: int) -> int:
    """Returns the gradient steps done in so many learner steps."""
    return learner_steps * self.num_sgd_steps_per_step

  def evaluated_steps(self) -> range:
    """Returns the gradient steps at which a finished run was evaluated."""
    every = self.gradient_steps(self.eval_every_steps)
    return range(every, self.gradient_steps(self.num_steps) + 1, every)

  def environment_spec(self) -> specs.EnvironmentSpec:
    """Returns the environment's spec, from an instance that is closed again."""
    with self.environment_factory(self.seed) as environment:
      return specs.make_environment_spec(environment)
