"""The run that is disturbed: a small MSG in the embedded maze.

It passes through all three phases (SASS, cloning, MSG), is evaluated 12 times
and saved 24 times. Every learner step is logged in `logs/every_step.csv`.
"""

import dataclasses
import os

from absl import flags
from acme.utils import loggers
import jax
import numpy as np

from .. import gin_options
from .. import settings
from .. import tasks
from ... import builders
from ...datasets import data_options
from ...launch import experiment_config
from ...launch import run_loggers

# Not named like those of `experiment_flags`, which a process may import, too.
_DIRECTORY = flags.DEFINE_string('run_dir', None, 'Directory of the run.')
_STREAMED = flags.DEFINE_bool('run_streamed', False, 'Stream the data.')
_NUM_STEPS = flags.DEFINE_integer('run_steps', 720, 'Learner steps.')

SGD_STEPS = 10
_NUM_EVALUATIONS = 12
_SAVES_PER_EVALUATION = 2


class _EveryStepLogger(run_loggers.CSVLogger):
  """Writes each row; the run's own file of the learner has one per second."""

  def write(self, data: loggers.LoggingData) -> None:
    row = {name: np.asarray(value).item() for name, value in data.items()}
    row['gradient_steps'] = row.pop('learner_steps')
    super().write(row)


class _LoggedBuilder(builders.MSGBuilder):
  """Also logs each learner step of host 0."""

  def __init__(self, config, path):
    super().__init__(config)
    self._path = path

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    """Makes the builder's learner, with two loggers on host 0."""
    def both(*args, **kwargs):
      logger = logger_fn(*args, **kwargs)
      if jax.process_index():
        return logger
      return loggers.Dispatcher([logger, _EveryStepLogger(self._path)])
    return super().make_learner(
        random_key, networks, dataset, both, environment_spec, counter=counter)


def every_step_path(root_dir: str) -> str:
  """Returns the file with a row for each learner step."""
  return os.path.join(root_dir, 'logs', 'every_step.csv')


def make(root_dir: str, streamed: bool = False,
         num_steps: int = 720) -> experiment_config.ExperimentConfig:
  """Returns the experiment.

  Args:
    root_dir: the run's directory.
    streamed: whether the data is streamed.
    num_steps: learner steps, a multiple of 24.
  """
  phase = SGD_STEPS * num_steps // 4
  gin_options.parse(['pointmaze.gin'], [
      f'msg.config.MSGConfig.{option}' for option in (
          'use_sass=True', f'num_q_repr_pretrain_iters={phase}',
          f'num_bc_iters={phase}', f'num_sgd_steps_per_step={SGD_STEPS}',
          'actor_network_hidden_sizes=(16,)',
          'critic_network_hidden_sizes=(16, 16)', 'batch_size=64')])
  every = num_steps // _NUM_EVALUATIONS
  experiment = settings.make_experiment(
      settings.AgentConfig(), tasks.TaskConfig(),
      settings.Budget(num_steps, every, episodes_per_eval=2),
      settings.DataConfig(
          data_options.DataOptions(num_episodes=20),
          stream=(experiment_config.StreamConfig(shuffle_buffer=2000)
                  if streamed else None)),
      root_dir=root_dir)
  return dataclasses.replace(
      experiment,
      builder=_LoggedBuilder(
          experiment.builder.config, every_step_path(experiment.root_dir)),
      checkpoint_every_steps=every // _SAVES_PER_EVALUATION)


def make_experiment() -> experiment_config.ExperimentConfig:
  """Returns the experiment that the flags describe."""
  return make(_DIRECTORY.value, _STREAMED.value, _NUM_STEPS.value)
