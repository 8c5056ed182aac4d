"""A small MSG agent and its data: O=3, A=2, N=4 members, B=16 rows."""

import functools

from acme import specs
from acme import types
from acme_msg import builders
from acme_msg.agents import msg
from acme_msg.agents import parallel
from acme_msg.agents import scanned_program
from acme_msg.agents import sharding
from acme_msg.agents.msg import state as msg_state
from acme_msg.agents.msg import update
import jax
import numpy as np

OBSERVATION_SIZE = 3
ACTION_SIZE = 2
NUM_TRANSITIONS = 50

SPEC = specs.EnvironmentSpec(
    observations=specs.Array((OBSERVATION_SIZE,), np.float32),
    actions=specs.BoundedArray((ACTION_SIZE,), np.float32, -1., 1.),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0., 1.))

MIMO = dict(ensemble_method='mimo', mimo_using_obs_tile=True,
            mimo_using_act_tile=True)
MULTI_HEAD = dict(ensemble_method='multi_head')
TREE = dict(ensemble_method='tree_deep_ensembles', tree_branching=2,
            tree_depth=2, tree_width=4)
BATCH_ENSEMBLE = dict(ensemble_method='batch_ensemble')


def make_data(num_transitions: int = NUM_TRANSITIONS,
              seed: int = 0) -> types.Transition:
  """Random transitions, a tenth of them terminal, with next actions."""
  rng = np.random.default_rng(seed)
  size = num_transitions
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return types.Transition(
      observation=draw(size, OBSERVATION_SIZE),
      action=np.float32(0.9) * np.tanh(draw(size, ACTION_SIZE)),
      reward=draw(size),
      discount=(rng.random(size) > 0.1).astype(np.float32),
      next_observation=draw(size, OBSERVATION_SIZE),
      extras={
          'next_action': np.float32(0.9) * np.tanh(draw(size, ACTION_SIZE))})


def make_config(**options) -> msg.MSGConfig:
  """A small agent without behaviour cloning.

  Options differ from their defaults, and learning rates from each other, so
  that the tests notice if one is not used.
  """
  return msg.MSGConfig(**{**dict(
      policy_lr=2e-3, q_lr=1e-3, alpha_lr=1e-2, discount=0.9, tau=0.1,
      reward_scale=1.5, pretrain_temp=0.7, batch_size=16,
      ensemble_size=4, beta=-2., num_bc_iters=0, num_cql_actions=3,
      behavior_regularization_type='v1', behavior_regularization_alpha=0.5,
      actor_network_hidden_sizes=(6,), critic_network_hidden_sizes=(5,),
  ), **options})


@functools.cache
def make_networks(config: msg.MSGConfig):
  """Returns the networks that the builder makes for the config."""
  return builders.make_msg_networks(SPEC, config)


@functools.cache
def _make_critic_state(seed, *options):
  config = make_config(**dict(options))
  return jax.device_get(jax.jit(lambda key: msg_state.init_state(
      key, make_networks(config), msg_state.make_optimizers(config)))(
          jax.random.PRNGKey(seed)))


# Options on which the initial state depends.
_STATE_OPTIONS = (
    'ensemble_method', 'ensemble_size', 'use_double_q', 'mimo_using_obs_tile',
    'mimo_using_act_tile', 'mimo_using_adamw', 'tree_branching', 'tree_depth',
    'tree_width', 'batch_split')


def make_state(config: msg.MSGConfig, seed: int = 0) -> msg_state.TrainingState:
  """Returns the learner's initial state."""
  return jax.tree.map(np.array, _make_critic_state(
      seed, *((name, getattr(config, name)) for name in _STATE_OPTIONS)))


@functools.cache
def make_update_step(config: msg.MSGConfig):
  """Returns the compiled gradient step on one device."""
  networks = make_networks(config)
  shard = sharding.Shard(
      1, config.ensemble_size, networks.critic.shard_over)
  return jax.jit(update.make_update_step(
      networks, config, msg_state.make_optimizers(config), shard))


def make_program(config: msg.MSGConfig, state=None,
                 devices=None) -> scanned_program.Program:
  """Returns the learner's program, on one device by default."""
  devices = parallel.ParallelMap(
      devices or jax.local_devices()[:1], config.parallel_map)
  networks = make_networks(config)
  optimizers = msg_state.make_optimizers(config)
  shard = sharding.make_shard(
      networks.critic, config.batch_size, devices.num_devices)
  state = make_state(config) if state is None else state
  return scanned_program.Program(
      update.make_update_step(networks, config, optimizers, shard), state,
      msg_state.split_leaves(
          state, networks.critic, optimizers, devices.num_devices),
      shard, devices, config.num_sgd_steps_per_step, config.batch_size,
      config.resident_data)


def flatten(tree) -> np.ndarray:
  """Concatenates all numbers of a tree."""
  return np.concatenate([
      np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(tree)])
