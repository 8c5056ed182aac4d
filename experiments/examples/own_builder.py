"""Trains an agent of another package in this package's Launchpad program.

The agent is Acme's behaviour cloning with a mean squared error. Its learner
takes batches from an iterator, as all of Acme's learners do; `BatchingBuilder`
makes the batches from the whole dataset that the program's data node serves.
The policy is a Gaussian of fixed scale: a deterministic policy would stay at
the first wall that it hits.

Usage:
  python -m acme_msg.experiments.examples.own_builder
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

from typing import Any

from acme.agents.jax import actor_core
from acme.agents.jax import actors
from acme.agents.jax import bc
from acme.jax import networks as networks_lib
from acme.jax import variable_utils
import haiku as hk
import jax
import jax.numpy as jnp
import optax

from . import small
from .. import tasks
from ... import builders
from ... import command_help
from ...launch import experiment_config
from ...launch import local

_BATCH_SIZE = 256
_ACTION_NOISE = 0.5


def make_network(spec):
  """Makes the agent's network, from observations to actions."""
  network = hk.without_apply_rng(hk.transform(lambda observation: jnp.tanh(
      hk.nets.MLP([64, 64, spec.actions.shape[0]])(observation))))
  return networks_lib.FeedForwardNetwork(
      lambda key: network.init(key, jnp.zeros(spec.observations.shape)),
      lambda params, observation, **_: network.apply(params, observation))


class ClonerBuilder:
  """An `OfflineBuilder`, as newer versions of Acme define it."""

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    return bc.BCLearner(
        networks, random_key, bc.mse(lambda action, key: action),
        optax.adam(1e-3), dataset, num_sgd_steps_per_step=1,
        logger=logger_fn('learner', 'learner_steps'), counter=counter)

  def make_policy(self, networks, environment_spec, evaluation):
    def policy(params, key, observation):
      action = networks.apply(params, observation)
      noise = _ACTION_NOISE * jax.random.normal(key, action.shape)
      return jnp.clip(action + noise, -1., 1.)

    return policy

  def make_actor(self, random_key, policy, environment_spec,
                 variable_source=None):
    return actors.GenericActor(
        actor_core.batched_feed_forward_to_actor_core(policy), random_key,
        variable_utils.VariableClient(variable_source, 'policy'))


def make_experiment(
    task: tasks.Task, root_dir: str,
    **budget: Any) -> experiment_config.ExperimentConfig:
  """Returns the experiment that trains the cloner on a task."""
  return experiment_config.ExperimentConfig(
      builder=builders.BatchingBuilder(ClonerBuilder(), _BATCH_SIZE),
      network_factory=make_network,
      dataset_factory=task.dataset_factory,
      environment_factory=task.environment_factory,
      root_dir=root_dir,
      seed=0,
      num_sgd_steps_per_step=1,
      score_fn=task.score_fn,
      config={'agent': 'cloner', 'dataset': task.dataset},
      **budget)


def main(_):
  local.launch(make_experiment(
      small.make_task(), 'runs/examples/own_builder', num_steps=2000,
      eval_every_steps=500, episodes_per_eval=10))


if __name__ == '__main__':
  command_help.run(main)
