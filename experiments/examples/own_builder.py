"""Trains an agent of another package in this package's Launchpad program.

The agent clones behaviour with a mean squared error and uses Acme's interface
only. Its learner takes batches from an iterator, as Acme's learners do;
`BatchingBuilder` makes the batches from the whole dataset that the program's
data node serves. The policy is a Gaussian of fixed scale: a deterministic
policy would stay at the first wall that it hits.

Usage:
  python -m acme_msg.experiments.examples.own_builder
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import time
from typing import Any

import acme
from acme.agents.jax import actor_core
from acme.agents.jax import actors
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
  return hk.without_apply_rng(hk.transform(lambda observation: jnp.tanh(
      hk.nets.MLP([64, 64, spec.actions.shape[0]])(observation))))


class ClonerLearner(acme.Learner):
  """Learns to predict actions; each step takes one batch."""

  def __init__(self, random_key, network, iterator, spec, counter, logger):
    optimizer = optax.adam(1e-3)

    def loss_fn(params, batch):
      predicted = network.apply(params, batch.observation)
      return jnp.mean(jnp.square(predicted - batch.action))

    @jax.jit
    def update(params, opt_state, batch):
      loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
      updates, opt_state = optimizer.update(gradient, opt_state)
      return optax.apply_updates(params, updates), opt_state, loss

    params = network.init(random_key, jnp.zeros(spec.observations.shape))
    self._state = params, optimizer.init(params)
    self._update, self._iterator = update, iterator
    self._counter, self._logger = counter, logger

  def step(self):
    start = time.time()
    *self._state, loss = self._update(*self._state, next(self._iterator))
    counts = self._counter.increment(steps=1, walltime=time.time() - start)
    self._logger.write({'loss': loss, **counts})

  def get_variables(self, names):
    variables = {'policy': self._state[0]}
    return jax.device_get([variables[name] for name in names])

  def save(self):
    return jax.device_get(tuple(self._state))

  def restore(self, state):
    self._state = state


class ClonerBuilder:
  """An `OfflineBuilder`, as newer versions of Acme define it."""

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    return ClonerLearner(random_key, networks, dataset, environment_spec,
                         counter, logger_fn('learner', 'learner_steps'))

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
