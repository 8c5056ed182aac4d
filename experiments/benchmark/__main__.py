"""Measures gradient steps: `python -m acme_msg.experiments.benchmark`.

Compares variants, ensemble sizes and numbers of devices in one process.
Programs take turns; the table shows each program's median over the rounds and
its ratio to the first program. Times are those of compiled programs on random
data of a task's shape, resident on the devices.
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import functools
import os

from absl import flags
from acme import types
from acme.utils import loggers
import jax
import numpy as np

from . import common
from ... import builders
from ... import command_help
from ...agents import msg
from ...agents.msg import learning

_METHODS = flags.DEFINE_list(
    'ensemble_methods', ['deep_ensembles'], 'Variants to compare.')
_SIZES = flags.DEFINE_list('ensemble_sizes', ['4'], 'Ensemble sizes.')
_NUM_DEVICES = flags.DEFINE_list(
    'num_devices', ['1'], 'Numbers of devices; CPU devices are forced.')
_HIDDEN_SIZES = flags.DEFINE_list(
    'hidden_sizes', ['256', '256', '256'], 'Hidden layers of all networks.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 256, 'Transitions per gradient step.')
_OBSERVATION_SIZE = flags.DEFINE_integer(
    'observation_size', 29, 'Size of an observation.')
_ACTION_SIZE = flags.DEFINE_integer('action_size', 8, 'Size of an action.')
_NUM_SGD_STEPS_PER_STEP = flags.DEFINE_integer(
    'num_sgd_steps_per_step', 20, 'Gradient steps per timed call.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed calls of each program.')


def _random_dataset(size: int = 100_000) -> types.Transition:
  """Returns random transitions, `[size, ...]`."""
  rng = np.random.default_rng(0)
  normal = lambda *shape: np.asarray(rng.normal(size=shape), np.float32)
  observation = normal(size + 1, _OBSERVATION_SIZE.value)
  return types.Transition(
      observation=observation[:-1],
      action=np.tanh(normal(size, _ACTION_SIZE.value)),
      reward=normal(size),
      discount=(rng.uniform(size=size) > 0.01).astype(np.float32),
      next_observation=observation[1:])


def _make_learner(dataset: types.Transition, method: str, ensemble_size: int,
                  num_devices: int) -> learning.MSGLearner:
  """Makes a learner with the options of AntMaze, on the first devices."""
  hidden = tuple(map(int, _HIDDEN_SIZES.value))
  tree = {}
  if method == 'tree_deep_ensembles':
    tree = dict(tree_branching=round(ensemble_size ** (1 / 3)), tree_depth=3)
  config = msg.MSGConfig(
      ensemble_method=method, ensemble_size=ensemble_size, beta=-8.,
      mimo_using_obs_tile=method == 'mimo',
      mimo_using_act_tile=method == 'mimo',
      behavior_regularization_type='v1', behavior_regularization_alpha=0.1,
      num_bc_iters=0, batch_size=_BATCH_SIZE.value,
      num_sgd_steps_per_step=_NUM_SGD_STEPS_PER_STEP.value,
      actor_network_hidden_sizes=hidden, critic_network_hidden_sizes=hidden,
      **tree)
  spec = common.environment_spec(_OBSERVATION_SIZE.value, _ACTION_SIZE.value)
  return learning.MSGLearner(
      builders.make_msg_networks(spec, config), config, jax.random.PRNGKey(0),
      dataset, logger=loggers.NoOpLogger(),
      devices=jax.devices()[:num_devices])


def main(_):
  """Runs the comparison that the flags describe and prints a table."""
  counts = list(map(int, _NUM_DEVICES.value))
  # Affects CPU devices only. JAX reads it when it first looks for devices.
  os.environ['XLA_FLAGS'] = ' '.join([
      os.environ.get('XLA_FLAGS', ''),
      f'--xla_force_host_platform_device_count={max(counts)}'])
  dataset = _random_dataset()
  learners = {
      f'{method} N={size} D={count}':
          _make_learner(dataset, method, size, count)
      for method in _METHODS.value for size in map(int, _SIZES.value)
      for count in counts}
  for learner in learners.values():
    learner.step()  # Compiles.
    learner.step()
  seconds = common.race({
      name: functools.partial(common.seconds, learner.step)
      for name, learner in learners.items()}, _ROUNDS.value)
  first = next(iter(seconds.values()))
  print('| program | ms per gradient step | ratio |\n|---|---|---|')
  for name, value in seconds.items():
    print(f'| {name} | {1e3 * value / _NUM_SGD_STEPS_PER_STEP.value:.2f} | '
          f'{value / first:.2f} |')


if __name__ == '__main__':
  command_help.run(main, {
      'Programs': (
          'ensemble_methods', 'ensemble_sizes', 'num_devices', 'hidden_sizes',
          'batch_size', 'observation_size', 'action_size'),
      'Measurement': ('num_sgd_steps_per_step', 'rounds'),
  })
