"""Counts the collectives of a gradient step over several devices.

`python -m acme_msg.experiments.benchmark.collectives` compiles each recipe's
learner step for several devices, without running it, and counts the collectives
in the body of its loop over gradient steps. With `--topology`, such as
v5e:4x4, it compiles for the devices of a TPU slice; this needs the package
libtpu, but no TPU.
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import collections
import os
from typing import Any, Sequence

from absl import flags
from acme import types
import jax
from jax.experimental import topologies
import numpy as np

from . import common
from . import hlo
from .. import gin_options
from .. import settings
from ... import builders
from ... import command_help
from ...agents import msg
from ...agents import parallel
from ...agents import scanned_program
from ...agents import sharding
from ...agents.msg import state as msg_state
from ...agents.msg import update

_RECIPES = flags.DEFINE_list(
    'recipes', [
        'antmaze.gin', 'antmaze_tree.gin', 'antmaze_batch_ensemble.gin',
        'antmaze_mimo.gin', 'antmaze_multi_head.gin'],
    'Recipes to compile: names in experiments/recipes, or paths.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Such as 'msg.config.MSGConfig.ensemble_size=256'.")
_NUM_DEVICES = flags.DEFINE_integer(
    'num_devices', 8, 'Number of devices; CPU devices are forced.')
_TOPOLOGY = flags.DEFINE_string(
    'topology', None,
    'TPU slice to compile for instead of this machine, such as v5e:4x4.')
_OBSERVATION_SIZE = flags.DEFINE_integer(
    'observation_size', 29, 'Size of an observation.')
_ACTION_SIZE = flags.DEFINE_integer('action_size', 8, 'Size of an action.')

def compile_learner_step(
    config: msg.MSGConfig, observation_size: int, action_size: int,
    devices: Sequence[Any]) -> jax.stages.Compiled:
  """Compiles a learner step on a resident dataset, without running it.

  With `config.parallel_map='shard_map'` the devices may be those of a topology,
  which need not be present.
  """
  networks = builders.make_msg_networks(
      common.environment_spec(observation_size, action_size), config)
  optimizers = msg_state.make_optimizers(config)
  num_devices = len(devices)
  shard = sharding.make_shard(networks.critic, config.batch_size, num_devices)
  run_resident, _ = scanned_program.make_programs(
      update.make_update_step(networks, config, optimizers, shard), shard,
      config.num_sgd_steps_per_step, config.batch_size, config.resident_data)

  place = (parallel.split_sharding(devices)
           if config.parallel_map == 'shard_map' else None)

  def on_devices(*shape, dtype=np.float32):
    return jax.ShapeDtypeStruct((num_devices, *shape), dtype, sharding=place)

  state = jax.eval_shape(
      lambda key: msg_state.init_state(key, networks, optimizers),
      jax.random.PRNGKey(0))
  is_split = msg_state.split_leaves(
      state, networks.critic, optimizers, num_devices)
  state = jax.tree.map(
      lambda x, is_split: on_devices(
          *((x.shape[0] // num_devices, *x.shape[1:])
            if is_split else x.shape), dtype=x.dtype),
      state, is_split)
  size = 1_000  # Transitions on each device; no collective depends on it.
  action = on_devices(size, action_size)
  observation = on_devices(size, observation_size)
  data = scanned_program.ResidentData(
      types.Transition(
          observation, action, on_devices(size), on_devices(size), observation,
          {'next_action': action} if config.options_with_next_actions else ()),
      on_devices(dtype=np.int32))
  program: Any = parallel.compile_program(
      run_resident, devices, config.parallel_map, donate_argnums=(0,))
  return program.lower(state, data).compile()


def describe(collectives: Sequence[hlo.Collective]) -> str:
  """Returns kinds and shapes of collectives, with a count for equal ones."""
  counts = collections.Counter(
      f'{c.kind} {" ".join(c.shapes[:3])}'
      + (f' and {len(c.shapes) - 3} more' if len(c.shapes) > 3 else '')
      for c in collectives)
  return ', '.join(
      text if count == 1 else f'{count} x {text}'
      for text, count in counts.items())


def _devices() -> Sequence[Any]:
  if _TOPOLOGY.value is None:
    # Affects CPU devices only. JAX reads it when it first looks for devices.
    os.environ['XLA_FLAGS'] = ' '.join([
        os.environ.get('XLA_FLAGS', ''),
        f'--xla_force_host_platform_device_count={_NUM_DEVICES.value}'])
    return jax.devices()[:_NUM_DEVICES.value]
  # A chip of two cores is one device, as on the machines themselves.
  options = ({'chip_config_name': 'megacore'}
             if _TOPOLOGY.value.startswith('v4') else {})
  return topologies.get_topology_desc(
      _TOPOLOGY.value, platform='tpu', **options).devices


def main(_):
  """Prints a table of the recipes' collectives."""
  bindings = list(_GIN_BINDINGS.value)
  if _TOPOLOGY.value:
    # Only shard_map compiles for devices that are not present.
    bindings.append("msg.config.MSGConfig.parallel_map='shard_map'")
  devices = _devices()
  print(f'D={len(devices)}, {devices[0].device_kind}\n')
  columns = ['recipe', 'collectives per gradient step', 'KB', 'which',
             'others per learner step']
  if _TOPOLOGY.value:
    # Per device. CPU programs loop over members; the compiler counts one pass.
    columns += ['MFLOP', 'MB', 'kernels']
  print(f'| {" | ".join(columns)} |\n{"|---" * len(columns)}|')
  for recipe in _RECIPES.value:
    gin_options.parse([recipe], bindings)
    config = settings.make_agent(settings.AgentConfig()).config
    compiled = compile_learner_step(
        config, _OBSERVATION_SIZE.value, _ACTION_SIZE.value, devices)
    counts = hlo.count_in_loop(compiled.as_text())
    cells = [recipe, len(counts.inside),
             f'{sum(c.num_bytes for c in counts.inside) / 1e3:,.1f}',
             describe(counts.inside), len(counts.outside)]
    if _TOPOLOGY.value:
      cost = compiled.cost_analysis()  # The body of a loop counts once.
      cells += [f'{cost["flops"] / 1e6:,.0f}',
                f'{cost["bytes accessed"] / 1e6:,.0f}', counts.num_fusions]
    print(f'| {" | ".join(map(str, cells))} |', flush=True)


if __name__ == '__main__':
  command_help.run(main, {
      'Programs': (
          'recipes', 'gin_bindings', 'observation_size', 'action_size'),
      'Devices': ('num_devices', 'topology'),
  })
