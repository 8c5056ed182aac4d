"""Trains offline in a plain loop, as newer versions of Acme do.

Acme 0.4.0 has no `run_offline_experiment`. This loop does the same with the
parts of Acme 0.4.0: Acme's checkpointer saves the learner and the counters, the
next run restores them, and the policy is evaluated every few learner steps.
Unlike `run_offline_experiment`, the budget counts gradient steps, as learners
do, so that a resumed run makes the missing steps only.

Usage:
  python -m acme_msg.experiments.examples.offline_loop
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import acme
from acme import core
from acme import specs
from acme.tf import savers
from acme.utils import counting
import jax

from . import small
from .. import algorithms
from .. import tasks
from ... import command_help
from ...launch import run_loggers


def run(
    agent: algorithms.Agent,
    task: tasks.Task,
    directory: str,
    *,
    num_gradient_steps: int,
    eval_every: int,
    num_eval_episodes: int,
) -> core.Learner:
  """Trains an agent; resumes from the checkpoint in `directory`, if any.

  Args:
    agent: the agent; its builder may be any `OfflineBuilder`.
    task: the dataset, and the environment for evaluation.
    directory: directory of checkpoints and logs.
    num_gradient_steps: the absolute number of gradient steps.
    eval_every: learner steps between evaluations.
    num_eval_episodes: episodes of each evaluation.
  """
  builder, environment = agent.builder, task.environment_factory(0)
  spec = specs.make_environment_spec(environment)
  networks = agent.network_factory(spec)
  learner_key, actor_key = jax.random.split(jax.random.PRNGKey(0))
  logger_fn = run_loggers.make_logger_fn(directory)
  counter = counting.Counter(time_delta=0.)

  learner = builder.make_learner(
      learner_key, networks, task.dataset_factory(), logger_fn, spec,
      counter=counting.Counter(counter, prefix='learner', time_delta=0.))
  actor = builder.make_actor(
      actor_key, builder.make_policy(networks, spec, evaluation=True), spec,
      variable_source=learner)
  eval_loop = acme.EnvironmentLoop(
      environment, actor,
      counter=counting.Counter(counter, prefix='evaluator', time_delta=0.),
      logger=logger_fn('evaluator', 'evaluator_steps'))

  # Restores the last checkpoint, if any; `add_uid` would hide it.
  checkpointer = savers.Checkpointer(
      {'learner': learner, 'counter': counter}, directory=directory,
      add_uid=False)
  while counter.get_counts().get('learner_steps', 0) < num_gradient_steps:
    for _ in range(eval_every):
      learner.step()
    eval_loop.run(num_eval_episodes)
    checkpointer.save(force=True)
  return learner


def main(_):
  run(small.AGENT, small.make_task(), 'runs/examples/offline_loop',
      num_gradient_steps=10_000, eval_every=20, num_eval_episodes=10)


if __name__ == '__main__':
  command_help.run(main)
