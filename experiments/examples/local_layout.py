"""Trains offline in the `LocalLayout` of Acme 0.4.0.

The layout acts and learns in turns. Each episode therefore evaluates the
weights at its start.

Usage:
  python -m acme_msg.experiments.examples.local_layout
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

from typing import Any, Callable

import acme
from acme import specs
from acme import types
from acme.jax.layouts import local_layout as acme_layout
from acme.utils import counting
from acme.utils import loggers
import dm_env

from . import small
from ... import builders
from ... import command_help


def run(
    builder: builders.FeedForwardBuilder,
    network_factory: Callable[[specs.EnvironmentSpec], Any],
    dataset_factory: Callable[[], types.Transition],
    environment: dm_env.Environment,
    directory: str,
    *,
    num_env_steps: int,
    env_steps_per_learner_step: int,
    logger: loggers.Logger,
    seed: int = 0,
) -> acme_layout.LocalLayout:
  """Trains an agent; resumes from the checkpoint in `directory`, if any.

  Args:
    builder: the agent.
    network_factory: maps an environment spec to the agent's networks.
    dataset_factory: returns the dataset.
    environment: the environment in which the policy acts.
    directory: directory of the checkpoints.
    num_env_steps: environment steps; the last episode is finished.
    env_steps_per_learner_step: environment steps for each learner step.
    logger: receives one row per episode.
    seed: seed of the layout.

  Returns:
    The layout, which is an actor and a source of the learner's variables.
  """
  spec = specs.make_environment_spec(environment)
  networks = network_factory(spec)
  counter = counting.Counter(time_delta=0.)
  agent = acme_layout.LocalLayout(
      seed, spec,
      builders.ActorLearnerBuilder(
          builder, spec, dataset_factory=dataset_factory),
      networks,
      builder.make_policy(networks, spec, evaluation=True),
      workdir=directory,
      # The layout makes one learner step for each batch_size /
      # samples_per_insert environment steps, after at least min_replay_size.
      min_replay_size=1,
      batch_size=env_steps_per_learner_step,
      samples_per_insert=1.,
      counter=counting.Counter(counter, prefix='learner', time_delta=0.))
  loop = acme.EnvironmentLoop(
      environment, agent,
      counter=counting.Counter(counter, prefix='actor', time_delta=0.),
      logger=logger)
  loop.run(num_steps=num_env_steps)
  agent.save()
  return agent


def main(argv):
  """Trains the small agent."""
  del argv
  task = small.make_task()
  run(small.builder, small.network_factory, task.dataset_factory,
      task.environment_factory(0), 'runs/examples/local_layout',
      num_env_steps=20_000, env_steps_per_learner_step=100,
      logger=loggers.TerminalLogger('actor'))


if __name__ == '__main__':
  command_help.run(main)
