"""A tiny MSG agent in the embedded maze, for the tests of several hosts.

Run as a program, it launches an experiment with it:
`python maze.py <root_dir> <num_devices_per_host> [field=value ...]`.
"""

import functools
import sys

from acme_msg import builders
from acme_msg import environments
from acme_msg.agents import msg
from acme_msg.datasets import loading
from acme_msg.datasets import pointmaze_generator
from acme_msg.datasets import sources
from acme_msg.launch import experiment_config
from acme_msg.launch import local

TASK = 'pointmaze-umaze-diverse'


def make_config(**options):
  """Returns the config of an agent that acts by all members."""
  return msg.MSGConfig(**{**dict(
      ensemble_size=8, beta=-2., q_lr=1e-3, policy_lr=1e-3, batch_size=16,
      num_sgd_steps_per_step=2, num_bc_iters=4,
      actor_network_hidden_sizes=(6,), critic_network_hidden_sizes=(8,),
      eval_mode='q_filter'), **options})


def load_dataset():
  """Returns 1,000 transitions, which are generated if they are missing."""
  return loading.load(
      sources.find(
          pointmaze_generator.ensure(TASK, num_transitions=1000), TASK), TASK)


def make_experiment(root_dir, normalize=False, streamed=False, **fields):
  """Returns an experiment of 40 x 2 gradient steps, evaluated 10 times."""
  config = make_config()
  builder = builders.MSGBuilder(config)
  if normalize:
    builder = builders.NormalizingBuilder(builder)
  return experiment_config.ExperimentConfig(
      builder=builder,
      network_factory=functools.partial(
          builders.make_msg_networks, config=config),
      dataset_factory=load_dataset,
      environment_factory=functools.partial(
          environments.make_environment, 'pointmaze', TASK),
      root_dir=root_dir, seed=1, num_sgd_steps_per_step=2,
      episodes_per_eval=1, config={}, variables=builder.variable_names,
      score_fn=functools.partial(environments.normalized_score, TASK),
      stream=experiment_config.StreamConfig() if streamed else None,
      **{'num_steps': 40, 'eval_every_steps': 4, **fields})


if __name__ == '__main__':
  directory, num_devices, *settings = sys.argv[1:]
  settings = dict(setting.split('=') for setting in settings)
  local.launch(
      make_experiment(
          directory,
          **{name: int(value) for name, value in settings.items()}),
      num_devices_per_host=int(num_devices))
