"""Trains offline for a while, then goes on online, in Acme 0.4.0.

The offline learner's state becomes that of the online learner. Half of what
that learns from is what its own policy adds to a Reverb table, half is still
the dataset: without it a policy that goes astray sees no more goals to learn
from. The networks are the same, the other options need not be: who can try
things out may be less pessimistic.

Usage:
  python -m acme_msg.experiments.examples.online_finetuning
"""

import dataclasses
from typing import Any, Callable, Tuple

from absl import app
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
  """Lets every second row of batches from actors be one of a dataset.

  Args:
    transform: what the dataset's loader did to it, for the actors' rows.
    dataset: the whole dataset.
    batch_size: of the batches, an even number.
    random_key: determines the dataset's rows.

  Returns:
    A function from batches `[batch_size, ...]` to such batches.
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
    online_builder: the same agent, perhaps with other options.
    network_factory: maps an environment spec to the networks of both.
    dataset: what is learned from at first, and half of it then.
    transform: what the dataset's loader did to it, for the data from actors.
    environment: where it is learned and evaluated.
    num_offline_steps: learner steps on the dataset.
    num_env_steps: steps to take in the environment, until the end of an
      episode.
    env_steps_per_learner_step: how many of them for each learner step.
    min_replay_size: steps in the environment before the first of them.
    num_eval_episodes: episodes of each evaluation.
    seed: of the learner and the layout.

  Returns:
    The mean returns of the offline policy and of the fine-tuned one.
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
      # batch_size / samples_per_insert steps in the environment for each of
      # the learner.
      batch_size=env_steps_per_learner_step, samples_per_insert=1.,
      checkpoint=False)
  loop = acme.EnvironmentLoop(
      environment, agent, logger=loggers.TerminalLogger('actor'))
  loop.run(num_steps=num_env_steps)
  return before, evaluate(agent)


def antmaze_rewards(transition: types.Transition) -> types.Transition:
  """Maps rewards as the loader of the mazes' data does."""
  return transition._replace(reward=rewards.transform(
      transition.reward, 'auto', small.TASK_NAME))


ONLINE_CONFIG = dataclasses.replace(
    small.CONFIG, beta=-1., behavior_regularization_type='none',
    # It would clone its own actions.
    num_bc_iters=0,
    # Reverb's samples are dearer than those of a resident dataset.
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
  app.run(main)
