"""Trains offline in the `LocalLayout` of Acme 0.4.0.

The layout acts and learns in turns. Each episode therefore evaluates the
weights at its start.

Usage:
  python -m acme_msg.experiments.examples.local_layout
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import acme
from acme import specs
from acme.jax.layouts import local_layout as acme_layout
from acme.utils import counting
from acme.utils import loggers

from . import small
from .. import algorithms
from .. import tasks
from ... import builders
from ... import command_help


def run(
    agent: algorithms.Agent,
    task: tasks.Task,
    directory: str,
    logger: loggers.Logger,
    *,
    num_env_steps: int,
    env_steps_per_learner_step: int,
) -> acme_layout.LocalLayout:
  """Trains an agent; resumes from the checkpoint in `directory`, if any.

  The logger receives one row per episode. Training ends with the episode in
  which `num_env_steps` is reached.

  Returns:
    The layout, which is an actor and a source of the learner's variables.
  """
  environment = task.environment_factory(0)
  spec = specs.make_environment_spec(environment)
  networks = agent.network_factory(spec)
  counter = counting.Counter(time_delta=0.)
  layout = acme_layout.LocalLayout(
      0, spec,
      builders.ActorLearnerBuilder(
          agent.builder, spec, dataset_factory=task.dataset_factory),
      networks,
      agent.builder.make_policy(networks, spec, evaluation=True),
      workdir=directory,
      # The layout makes one learner step for each batch_size /
      # samples_per_insert environment steps, after at least min_replay_size.
      min_replay_size=1,
      batch_size=env_steps_per_learner_step,
      samples_per_insert=1.,
      counter=counting.Counter(counter, prefix='learner', time_delta=0.))
  acme.EnvironmentLoop(
      environment, layout,
      counter=counting.Counter(counter, prefix='actor', time_delta=0.),
      logger=logger).run(num_steps=num_env_steps)
  layout.save()
  return layout


def main(_):
  run(small.AGENT, small.make_task(), 'runs/examples/local_layout',
      loggers.TerminalLogger('actor'),
      num_env_steps=20_000, env_steps_per_learner_step=100)


if __name__ == '__main__':
  command_help.run(main)
