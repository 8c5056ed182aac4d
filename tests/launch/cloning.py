"""A small agent, environment and dataset, as a user would write them.

Run as a program, it launches an experiment with them:
`python cloning.py <launch type> <root_dir> [field=value ...]`.
"""

import functools
import sys
import time
from typing import Any, NamedTuple

from acme_msg import builders
from acme_msg.agents import bc
from acme_msg.launch import experiment_config
from acme_msg.launch import local
from acme_msg.launch import node_process

# acme_msg must come first: it restores JAX names that Acme imports.
# isort: split
import acme
from acme import specs
from acme import types
from acme.agents.jax import actor_core
from acme.agents.jax import actors
from acme.jax import variable_utils
import dm_env
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


class State(NamedTuple):
  params: Any
  opt_state: Any
  key: jax.Array


class CloningLearner(acme.Learner):
  """Behaviour cloning: S gradient steps per learner step, in one scan."""

  def __init__(self, key, network, dataset, logger, counter, num_sgd_steps,
               delay):
    optimizer = optax.adam(1e-2)
    observations = jnp.asarray(dataset.observation)
    actions = jnp.asarray(dataset.action)

    def loss_fn(params, indices):
      predicted = network.apply(params, observations[indices])
      return jnp.mean((predicted - actions[indices])**2)

    def gradient_step(state, _):
      key, sample_key = jax.random.split(state.key)
      indices = jax.random.randint(sample_key, (32,), 0, len(observations))
      loss, gradients = jax.value_and_grad(loss_fn)(state.params, indices)
      updates, opt_state = optimizer.update(gradients, state.opt_state)
      params = optax.apply_updates(state.params, updates)
      return State(params, opt_state, key), loss

    self._step = jax.jit(lambda state: jax.lax.scan(
        gradient_step, state, None, length=num_sgd_steps))
    init_key, key = jax.random.split(key)
    params = network.init(init_key, observations[:1])
    self._state = State(params, optimizer.init(params), key)
    self._num_sgd_steps = num_sgd_steps
    self._logger, self._counter, self._delay = logger, counter, delay

  def step(self):
    start = time.time()
    self._state, losses = self._step(self._state)
    time.sleep(self._delay)
    counts = self._counter.increment(
        steps=self._num_sgd_steps, walltime=time.time() - start)
    self._logger.write({'loss': losses.mean(), **counts})

  def get_variables(self, names):
    variables = {'policy': jax.device_get(self._state.params)}
    return [variables[name] for name in names]

  def save(self):
    return jax.device_get(self._state)

  def restore(self, state):
    self._state = jax.device_put(state)


class CloningBuilder:
  """An Acme `OfflineBuilder`."""

  def __init__(self, num_sgd_steps, delay):
    self._num_sgd_steps, self._delay = num_sgd_steps, delay

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    return CloningLearner(random_key, networks, dataset, logger_fn('learner'),
                          counter, self._num_sgd_steps, self._delay)

  def make_policy(self, networks, environment_spec, evaluation):
    # Noisy, so that equal evaluations need equal random keys.
    def policy(params, key, observation):
      actions = networks.apply(params, observation)
      return actions + 0.1 * jax.random.normal(key, actions.shape)
    return policy

  def make_actor(self, random_key, policy, environment_spec,
                 variable_source=None):
    core = actor_core.batched_feed_forward_to_actor_core(policy)
    client = variable_utils.VariableClient(variable_source, 'policy')
    return actors.GenericActor(core, random_key, client)


def make_network(environment_spec):
  size = environment_spec.actions.shape[0]
  return hk.without_apply_rng(
      hk.transform(lambda x: hk.nets.MLP([8, size])(x)))


class Point(dm_env.Environment):
  """A point on a line that should go to the origin within ten steps."""

  def __init__(self, seed, delay=0.):
    self._random, self._delay = np.random.RandomState(seed), delay

  def reset(self):
    self._x, self._time = self._random.uniform(-1, 1, (1,)), 0
    return dm_env.restart(self._x.astype(np.float32))

  def step(self, action):
    time.sleep(self._delay)
    self._x, self._time = self._x + 0.2 * action, self._time + 1
    observation, reward = self._x.astype(np.float32), -float(abs(self._x[0]))
    if self._time < 10:
      return dm_env.transition(reward, observation)
    return dm_env.truncation(reward, observation)

  def observation_spec(self):
    return specs.Array((1,), np.float32)

  def action_spec(self):
    return specs.BoundedArray((1,), np.float32, -1., 1.)


def load_dataset(size=1, fault=None):
  """Returns 500 transitions, with observations of the given size."""
  if fault:
    raise ValueError(fault)
  random = np.random.RandomState(0)
  x = random.uniform(-1, 1, (501, 1)).astype(np.float32)
  actions = np.clip(-2 * x, -1, 1)
  observations = np.tile(x, (1, size))
  ones = np.ones((500,), np.float32)
  return types.Transition(
      observations[:-1], actions[:-1], -ones, ones, observations[1:],
      {'next_action': actions[1:]})


def load_blocks():
  """Yields the dataset in blocks of 200 transitions."""
  dataset = load_dataset()
  for start in range(0, 500, 200):
    yield jax.tree.map(lambda x: x[start:start + 200], dataset)


def make_streamed_experiment(root_dir, env_delay=0., **fields):
  """Returns one of 8 x 5 gradient steps on 31 batches of 16 per epoch."""
  config = bc.BCConfig(
      policy_lr=1e-3, batch_size=16, num_sgd_steps_per_step=5,
      actor_network_hidden_sizes=(8,), eval_mode='sample')
  fields = {'num_steps': 8, 'dataset_factory': load_blocks, **fields}
  return experiment_config.ExperimentConfig(
      builder=builders.BCBuilder(config),
      network_factory=functools.partial(
          builders.make_bc_networks, config=config),
      environment_factory=functools.partial(Point, delay=env_delay),
      root_dir=root_dir, seed=3,
      num_sgd_steps_per_step=5, eval_every_steps=2, episodes_per_eval=3,
      stream=experiment_config.StreamConfig(shuffle_buffer=2000), config={},
      **fields)


def make_experiment(root_dir, delay=0., env_delay=0., fault=None, size=1,
                    num_sgd_steps=5, learning=None, **fields):
  """Returns an experiment of 8 x 5 gradient steps, evaluated 4 times."""
  learning = learning or num_sgd_steps
  fields = {'seed': 3, 'num_steps': 8, 'eval_every_steps': 2,
            'episodes_per_eval': 3, **fields}
  return experiment_config.ExperimentConfig(
      builder=CloningBuilder(learning, delay),
      network_factory=make_network,
      dataset_factory=functools.partial(load_dataset, size, fault),
      environment_factory=functools.partial(Point, delay=env_delay),
      root_dir=root_dir,
      num_sgd_steps_per_step=num_sgd_steps,
      config={'agent': {'size': 8}},
      score_fn=lambda returns: 100 * (returns + 10) / 10,
      **fields)


if __name__ == '__main__':
  launch_type, directory, *settings = sys.argv[1:]
  settings = dict(setting.split('=') for setting in settings)
  for name, value in settings.items():
    if name != 'fault':
      settings[name] = float(value) if 'delay' in name else int(value)
  node_process.STOPPED_SECS = settings.pop(
      'stopped_secs', node_process.STOPPED_SECS)
  make = (make_streamed_experiment if settings.pop('stream', 0) else
          make_experiment)
  asked = make(directory, **settings)
  if launch_type == 'one':
    local.run_local(asked)
  else:
    local.launch(asked, launch_type)
