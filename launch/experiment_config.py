"""What one experiment is: agent, data, environment, budget and evaluation."""

import dataclasses
import json
import os
from typing import Any, Callable, Mapping, Optional, Sequence

from acme import specs
import dm_env
import numpy as np

from ..datasets.delivery import streaming
from . import data_node

DATA_MODES = ('resident', 'stream')


@dataclasses.dataclass
class ExperimentConfig:
  """One offline experiment, the same for one process and for many.

  A *learner step* is one call of `learner.step()`, which runs S gradient steps.
  Budgets below are in learner steps; everything on disk (checkpoints, logs,
  evaluations) is numbered by gradient steps. All members must be picklable,
  because every node of a program receives the experiment.

  Attributes:
    builder: the agent, any Acme `OfflineBuilder`.
    network_factory: maps an environment spec to the agent's networks.
    dataset_factory: reads, validates and returns the dataset: a `Transition` of
      T rows, or, where it may not fit memory, an iterator of blocks of rows.
      Called once, in the data node's process.
    environment_factory: maps a seed to an environment.
    root_dir: the run's directory: `config.json`, `checkpoints`, `logs`,
      `tensorboard` and `evaluations.npz`. An existing run is resumed.
    seed: of the learner, the evaluating actors and the environments.
    num_steps: the absolute number of learner steps; a resumed run trains only
      what is missing.
    num_sgd_steps_per_step: S, the gradient steps of one learner step; the
      learner must advance `learner_steps` by exactly S in each.
    eval_every_steps: learner steps between evaluations; divides num_steps.
    episodes_per_eval: episodes run with each evaluated set of weights.
    config: the resolved settings behind builder, networks, dataset and
      environment, written into `config.json`. A run is only resumed with equal
      settings.
    variables: names of the learner's variables that its actors ask for.
    num_evaluators: evaluator nodes of a program.
    num_learner_hosts: H, learner nodes of a program, each on a host or, for a
      rehearsal, all on one. A run may be resumed with another number.
    checkpoint_every_steps: learner steps between checkpoints, by default
      `eval_every_steps`. A checkpoint waits for all evaluations before it, so
      that more than two evaluators help only where it is a multiple of it.
    data_mode: 'resident', where the learner holds the whole dataset, or
      'stream', where it gets batches of shuffled epochs from the data node.
    shuffle_buffer: of streamed data, the transitions that are shuffled at once;
      the learner's process holds about three times as many.
    transitions_per_step: of streamed data, the transitions of a learner step;
      by default what the builder says.
    score_fn: maps returns `[episodes]` to normalised scores `[episodes]`, or to
      None where the task has none.

  Raises:
    ValueError: naming the field, if a value makes no sense.
  """
  builder: Any
  network_factory: Callable[[specs.EnvironmentSpec], Any]
  dataset_factory: Callable[[], data_node.Dataset]
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
  data_mode: str = 'resident'
  shuffle_buffer: int = streaming.SHUFFLE_BUFFER
  transitions_per_step: Optional[int] = None
  score_fn: Optional[Callable[[np.ndarray], Optional[np.ndarray]]] = None

  def __post_init__(self):
    if not self.root_dir:
      raise ValueError('root_dir is empty: name the directory of the run.')
    self.root_dir = os.path.abspath(os.path.expanduser(self.root_dir))
    if self.checkpoint_every_steps is None:
      self.checkpoint_every_steps = self.eval_every_steps
    if self.data_mode not in DATA_MODES:
      raise ValueError(
          f'data_mode={self.data_mode!r} is not one of {DATA_MODES}.')
    if self.transitions_per_step is None:
      self.transitions_per_step = getattr(
          self.builder, 'transitions_per_step', None)
    if self.data_mode == 'stream' and self.transitions_per_step is None:
      raise ValueError(
          "data_mode='stream' needs transitions_per_step: the builder does not "
          'say how many transitions its learner takes in each step.')
    for name in ('num_steps', 'num_sgd_steps_per_step', 'eval_every_steps',
                 'episodes_per_eval', 'num_evaluators', 'num_learner_hosts',
                 'checkpoint_every_steps', 'shuffle_buffer'):
      value = getattr(self, name)
      if int(value) != value or value < 1:
        raise ValueError(f'{name} must be a positive integer, not {value!r}.')
    if (self.data_mode == 'stream'
        and self.transitions_per_step % self.num_learner_hosts):
      raise ValueError(
          f'num_learner_hosts={self.num_learner_hosts} does not divide the '
          f'{self.transitions_per_step} transitions of a learner step, of '
          'which each host reads its part.')
    if not 0 <= self.seed < 2**32:
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
