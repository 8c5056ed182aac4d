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
from typing import Any, Callable, Tuple

import acme
from acme import core
from acme import specs
from acme import types
from acme.jax.layouts import local_layout as acme_layout
from acme.utils import loggers
import dm_env
import jax
import numpy as np

from . import small
from ... import builders
from ... import command_help
from ...datasets import rewards


def mean_return(builder: builders.FeedForwardBuilder, networks: Any,
                variable_source: core.VariableSource,
                environment: dm_env.Environment, num_episodes: int) -> float:
  """Returns the mean return of the evaluation policy."""
  spec = specs.make_environment_spec(environment)
  actor = builder.make_actor(
      jax.random.PRNGKey(0),
      builder.make_policy(networks, spec, evaluation=True), spec,
      variable_source)
  loop = acme.EnvironmentLoop(environment, actor, logger=loggers.NoOpLogger())
  return np.mean(
      [loop.run_episode()['episode_return'] for _ in range(num_episodes)])


def add_half(
    transform: Callable[[types.Transition], types.Transition],
    dataset: types.Transition,
    batch_size: int,
    random_key: jax.Array,
) -> Callable[[types.Transition], types.Transition]:
  """Replaces every second row of the actors' batches by a row of a dataset.

  Args:
    transform: the loader's transform of rewards, applied to the actors' rows.
    dataset: the whole dataset.
    batch_size: number of rows of a batch, even.
    random_key: determines the dataset's rows.

  Returns:
    A function from batches `[batch_size, ...]` to batches of the same shape.
  """
  known = builders.sample_batches(
      dataset._replace(extras=()), batch_size // 2, random_key)

  def mix(batch: types.Transition) -> types.Transition:
    return jax.tree.map(
        lambda x, y: np.stack([x[::2], y], axis=1).reshape(x.shape),
        transform(batch), next(known))

  return mix


def run(
    offline_builder: builders.FeedForwardBuilder,
    online_builder: builders.FeedForwardBuilder,
    network_factory: Callable[[specs.EnvironmentSpec], Any],
    dataset: types.Transition,
    transform: Callable[[types.Transition], types.Transition],
    environment: dm_env.Environment,
    *,
    num_offline_steps: int,
    num_env_steps: int,
    env_steps_per_learner_step: int,
    min_replay_size: int,
    num_eval_episodes: int,
    seed: int = 0,
) -> Tuple[float, float]:
  """Trains offline, then online.

  Args:
    offline_builder: the agent that learns from the dataset.
    online_builder: the same agent; its options may differ.
    network_factory: maps an environment spec to the networks of both agents.
    dataset: the dataset, which gives all offline and half of the online data.
    transform: the loader's transform of rewards, applied to online data.
    environment: the environment for online training and evaluation.
    num_offline_steps: offline learner steps.
    num_env_steps: environment steps; the last episode is finished.
    env_steps_per_learner_step: environment steps for each online learner step.
    min_replay_size: environment steps before the first online learner step.
    num_eval_episodes: episodes of each evaluation.
    seed: seed of the learner and the layout.

  Returns:
    The mean returns of the offline policy and of the fine-tuned policy.
  """
  spec = specs.make_environment_spec(environment)
  networks = network_factory(spec)
  evaluate = lambda source: mean_return(
      online_builder, networks, source, environment, num_eval_episodes)

  offline = offline_builder.make_learner(
      jax.random.PRNGKey(seed), networks, dataset,
      lambda *_, **__: loggers.NoOpLogger(), spec)
  for _ in range(num_offline_steps):
    offline.step()
  before = evaluate(offline)

  agent = acme_layout.LocalLayout(
      seed, spec,
      builders.ActorLearnerBuilder(
          online_builder, spec, state=offline.save(),
          transform=add_half(
              transform, dataset, online_builder.transitions_per_step,
              jax.random.PRNGKey(seed))),
      networks,
      online_builder.make_policy(networks, spec, evaluation=False),
      min_replay_size=min_replay_size,
      # The layout makes one learner step for each batch_size /
      # samples_per_insert environment steps.
      batch_size=env_steps_per_learner_step, samples_per_insert=1.,
      checkpoint=False)
  loop = acme.EnvironmentLoop(
      environment, agent, logger=loggers.TerminalLogger('actor'))
  loop.run(num_steps=num_env_steps)
  return before, evaluate(agent)


def antmaze_rewards(transition: types.Transition) -> types.Transition:
  """Transforms rewards as the loader of the mazes' data does."""
  return transition._replace(reward=rewards.transform(
      transition.reward, 'auto', small.TASK_NAME))


ONLINE_CONFIG = dataclasses.replace(
    small.CONFIG, beta=-1., behavior_regularization_type='none',
    # Cloning would imitate the policy's own actions.
    num_bc_iters=0,
    # Sampling from Reverb is slower than from a resident dataset.
    batch_size=64)


def main(argv):
  """Trains the small agent."""
  del argv
  task = small.make_task()
  before, after = run(
      small.builder, builders.MSGBuilder(ONLINE_CONFIG), small.network_factory,
      task.dataset_factory(), antmaze_rewards, task.environment_factory(0),
      num_offline_steps=1, num_env_steps=10_000,
      env_steps_per_learner_step=50, min_replay_size=2000,
      num_eval_episodes=20)
  print(f'Mean return: {before:.2f} offline, {after:.2f} after fine-tuning.')


if __name__ == '__main__':
  command_help.run(main)
