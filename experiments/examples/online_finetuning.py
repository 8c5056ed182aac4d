"""Trains offline first and then online, in Acme 0.4.0.

The online learner starts from the offline learner's state. Half of its batches
comes from a Reverb table that its own policy fills, the other half still from
the dataset; without the dataset, a policy that fails sees no more rewards to
learn from. Networks must be equal in both phases; other options may differ. An
online agent can be less pessimistic, because it can test its actions.

Usage:
  python -m acme_msg.experiments.examples.online_finetuning
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import dataclasses
import functools
from typing import Callable, Tuple

import acme
from acme import core
from acme import specs
from acme import types
from acme.jax.layouts import local_layout as acme_layout
from acme.utils import loggers
import jax
import numpy as np

from . import small
from .. import algorithms
from .. import tasks
from ... import builders
from ... import command_help
from ...datasets import rewards


def add_half(
    dataset: types.Transition, batch_size: int, random_key: jax.Array,
) -> Callable[[types.Transition], types.Transition]:
  """Replaces every second row of the actors' batches by a row of a dataset.

  The returned function takes and returns batches `[batch_size, ...]`, of an
  even size. It transforms the actors' rewards as the dataset's loader does.
  """
  known = builders.sample_batches(
      dataset._replace(extras=()), batch_size // 2, random_key)

  def mix(batch: types.Transition) -> types.Transition:
    return jax.tree.map(
        lambda x, y: np.stack([x[::2], y], axis=1).reshape(x.shape),
        batch._replace(reward=rewards.transform(
            batch.reward, 'auto', small.TASK_NAME)), next(known))

  return mix


def run(
    agent: algorithms.Agent,
    online_builder: builders.FeedForwardBuilder,
    task: tasks.Task,
    *,
    num_offline_steps: int,
    num_env_steps: int,
    env_steps_per_learner_step: int,
    min_replay_size: int,
    num_eval_episodes: int,
) -> Tuple[float, float]:
  """Trains offline, then online.

  `online_builder` builds the same agent; its options may differ. The dataset
  gives all offline and half of the online data. Online learner steps begin
  after `min_replay_size` environment steps. Training ends with the episode in
  which `num_env_steps` is reached.

  Returns:
    The mean returns of the offline policy and of the fine-tuned policy.
  """
  dataset, environment = task.dataset_factory(), task.environment_factory(0)
  spec = specs.make_environment_spec(environment)
  networks = agent.network_factory(spec)
  make_policy = functools.partial(online_builder.make_policy, networks, spec)

  def mean_return(source: core.VariableSource) -> float:
    actor = online_builder.make_actor(
        jax.random.PRNGKey(0), make_policy(evaluation=True), spec, source)
    loop = acme.EnvironmentLoop(environment, actor, logger=loggers.NoOpLogger())
    return np.mean([
        loop.run_episode()['episode_return'] for _ in range(num_eval_episodes)])

  offline = agent.builder.make_learner(
      jax.random.PRNGKey(0), networks, dataset,
      lambda *_, **__: loggers.NoOpLogger(), spec)
  for _ in range(num_offline_steps):
    offline.step()
  before = mean_return(offline)

  layout = acme_layout.LocalLayout(
      0, spec,
      builders.ActorLearnerBuilder(
          online_builder, spec, state=offline.save(),
          transform=add_half(
              dataset, online_builder.transitions_per_step,
              jax.random.PRNGKey(0))),
      networks,
      make_policy(evaluation=False),
      min_replay_size=min_replay_size,
      # The layout makes one learner step for each batch_size /
      # samples_per_insert environment steps.
      batch_size=env_steps_per_learner_step, samples_per_insert=1.,
      checkpoint=False)
  acme.EnvironmentLoop(
      environment, layout,
      logger=loggers.TerminalLogger('actor')).run(num_steps=num_env_steps)
  return before, mean_return(layout)


ONLINE_CONFIG = dataclasses.replace(
    small.CONFIG, beta=-1., behavior_regularization_type='none',
    # Cloning would imitate the policy's own actions.
    num_bc_iters=0,
    # Sampling from Reverb is slower than from a resident dataset.
    batch_size=64)


def main(_):
  before, after = run(
      small.AGENT, builders.MSGBuilder(ONLINE_CONFIG), small.make_task(),
      num_offline_steps=1, num_env_steps=10_000,
      env_steps_per_learner_step=50, min_replay_size=2000,
      num_eval_episodes=20)
  print(f'Mean return: {before:.2f} offline, {after:.2f} after fine-tuning.')


if __name__ == '__main__':
  command_help.run(main)
