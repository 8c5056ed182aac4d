"""Trains offline in the `OfflineDistributedLayout` of Acme 0.4.0.

The layout makes a Launchpad program of a counter, a learner and evaluators. It
takes functions instead of a builder; `make_program` makes them from any
`OfflineBuilder`.

Usage, with nodes in processes (by default they are threads):
  python -m acme_msg.experiments.examples.offline_distributed_layout \
      --lp_launch_type=local_mp
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import acme
from acme import specs
from acme.jax import utils
from acme.jax.layouts import offline_distributed_layout as acme_layout
from acme.utils import counting
from acme.utils import loggers
import jax
import launchpad as lp

from . import small
from .. import algorithms
from .. import tasks
from ... import builders
from ... import command_help


def make_program(
    agent: algorithms.Agent,
    task: tasks.Task,
    directory: str,
    *,
    num_gradient_steps: int,
    label: str = 'evaluator',
) -> lp.Program:
  """Returns the layout's program.

  Args:
    agent: the agent; its builder may be any `OfflineBuilder`.
    task: the dataset, which the learner's process reads, and the environment.
    directory: directory of the checkpoints.
    num_gradient_steps: least number of gradient steps; the layout checks their
      number every ten seconds.
    label: label of the evaluator's rows in the terminal.
  """
  builder = agent.builder
  with task.environment_factory(0) as environment:
    spec = specs.make_environment_spec(environment)

  def make_learner(random_key, networks, counter, logger):
    return builder.make_learner(
        random_key, networks, task.dataset_factory(), lambda *_, **__: logger,
        spec, counter=counter)

  def make_evaluator(random_key, variable_source, counter):
    environment_key, actor_key = jax.random.split(random_key)
    policy = builder.make_policy(
        agent.network_factory(spec), spec, evaluation=True)
    return acme.EnvironmentLoop(
        task.environment_factory(utils.sample_uint32(environment_key)),
        builder.make_actor(actor_key, policy, spec, variable_source),
        counter=counting.Counter(counter, prefix='evaluator'),
        logger=loggers.make_default_logger(label, save_data=False))

  layout = acme_layout.OfflineDistributedLayout(
      0, lambda: agent.network_factory(spec), make_learner, [make_evaluator],
      max_number_of_steps=num_gradient_steps, workdir=directory)
  return builders.import_acme_msg_first(layout.build())


def main(_):
  lp.launch(make_program(
      small.AGENT, small.make_task(),
      'runs/examples/offline_distributed_layout', num_gradient_steps=10_000))


if __name__ == '__main__':
  command_help.run(main, {'Nodes': ['lp_launch_type']})
