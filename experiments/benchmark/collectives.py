"""Counts what devices tell each other in a gradient step.

`python -m acme_msg.experiments.benchmark.collectives` compiles the learner's program of
each recipe for several devices, without running it, and reads the collectives
in the body of its loop over gradient steps from the compiled program. With
`--topology`, such as v5e:4x4, it compiles for the devices of a TPU slice; that
needs the package libtpu, but no TPU.
"""

import collections
import math
import os
import re
from typing import Any, Mapping, NamedTuple, Sequence, Set, Tuple

from absl import app
from absl import flags
from acme import specs
from acme import types
import jax
from jax.experimental import topologies
import numpy as np

from .. import algorithms
from ...agents import msg
from ...agents import parallel
from ...agents import scanned_program
from ...agents import sharding
from ...agents.msg import update
from ...builders import msg_builder
from ...networks import members

_RECIPES = flags.DEFINE_list(
    'recipes', [
        'antmaze.gin', 'antmaze_tree.gin', 'antmaze_batch_ensemble.gin',
        'antmaze_mimo.gin', 'antmaze_multi_head.gin'],
    'Recipes to compile; names in experiments/recipes, or paths.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Such as 'msg.config.MSGConfig.ensemble_size=256'.")
_NUM_DEVICES = flags.DEFINE_integer(
    'num_devices', 8, 'D; those of a CPU are forced.')
_TOPOLOGY = flags.DEFINE_string(
    'topology', None, 'A TPU slice to compile for instead of this machine.')
_OBSERVATION_SIZE = flags.DEFINE_integer('observation_size', 29, 'O.')
_ACTION_SIZE = flags.DEFINE_integer('action_size', 8, 'A.')

_KINDS = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute',
          'collective-broadcast', 'reduce-scatter')
_ITEM_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's32': 4,
               'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}


class Collective(NamedTuple):
  """One collective of a compiled program.

  Attributes:
    kind: one of `_KINDS`.
    shapes: of its results, such as 'f32[2,256]'.
    num_bytes: of its results on each device.
  """
  kind: str
  shapes: Tuple[str, ...]
  num_bytes: int


class _Instruction(NamedTuple):
  shape: str
  opcode: str
  called: Tuple[str, ...]  # Names of the computations that it runs.


_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(
    r'^\s+(?:ROOT )?%?[\w.\-]+ = (\(.*?\)(?= [\w\-]+\()|\S+) ([\w\-]+)\(')
_CALLED = re.compile(
    r'(?:calls|body|condition|to_apply|true_computation|false_computation)='
    r'(%?[\w.\-]+)|branch_computations=\{([^}]*)\}')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')


def _parse(text: str) -> Tuple[Mapping[str, Sequence[_Instruction]], str]:
  """Returns a program's computations by name, and the first one's name."""
  computations, entry, current = {}, '', None
  for line in text.splitlines():
    if found := _COMPUTATION.match(line):
      current = computations[found[2]] = []
      entry = found[2] if found[1] else entry
    elif found := _INSTRUCTION.match(line):
      names = ' '.join(map(' '.join, _CALLED.findall(line)))
      current.append(_Instruction(
          found[1], found[2], tuple(re.findall(r'[\w.\-]+', names))))
  return computations, entry


def _reachable(computations: Mapping[str, Sequence[_Instruction]],
               name: str) -> Set[str]:
  """Returns a computation and all that it runs, by name."""
  found, todo = set(), [name]
  while todo:
    name = todo.pop()
    if name in computations and name not in found:
      found.add(name)
      todo += [c for i in computations[name] for c in i.called]
  return found


def _collectives(instructions: Sequence[_Instruction]) -> Sequence[Collective]:
  collectives = []
  for instruction in instructions:
    kind = instruction.opcode.removesuffix('-start')
    if kind not in _KINDS:
      continue
    arrays = _ARRAY.findall(instruction.shape)
    if instruction.opcode.endswith('-start') and kind != 'all-reduce':
      arrays = arrays[len(arrays) // 2:]  # Operands stand before results.
    collectives.append(Collective(
        kind, tuple(f'{t}[{dims}]' for t, dims in arrays),
        sum(_ITEM_BYTES[t] * math.prod(map(int, filter(None, dims.split(','))))
            for t, dims in arrays)))
  return collectives


class Counts(NamedTuple):
  """What a compiled program of many gradient steps does.

  Attributes:
    inside: the collectives of each gradient step, in the largest loop's body.
    outside: the others.
    num_fusions: of the body itself; each is one kernel of an accelerator.
  """
  inside: Sequence[Collective]
  outside: Sequence[Collective]
  num_fusions: int


def read(text: str) -> Counts:
  """Finds the collectives of a compiled program of many gradient steps.

  Args:
    text: the optimised HLO of a learner step of more than one gradient step.

  Returns:
    What is in it.

  Raises:
    ValueError: if there is no loop, or if a collective stands in a loop within
      the body, so that its count depends on that loop.
  """
  computations, entry = _parse(text)
  loops = {
      name: _reachable(computations, name)
      for c in _reachable(computations, entry) for i in computations[c]
      if i.opcode == 'while' for name in i.called}
  if not loops:
    raise ValueError('The program has no loop over gradient steps.')
  body = max(loops, key=lambda name: sum(
      len(computations[c]) for c in loops[name]))

  def within(names):
    return _collectives([i for c in sorted(names) for i in computations[c]])

  for name in loops:
    if name in loops[body] - {body} and within(loops[name]):
      raise ValueError(
          f'The loop {name} within the gradient step {body} has collectives; '
          'this reads those outside of inner loops only.')
  return Counts(
      within(loops[body]),
      within(_reachable(computations, entry) - loops[body]),
      sum(i.opcode in ('fusion', 'custom-call') for i in computations[body]))


class _Shapes(parallel.ParallelMap):
  """Keeps what it compiles, and puts shapes where arrays would be put."""

  def __init__(self, devices: Sequence[Any], kind: str):
    # Not as the parent, which wants the processes of all hosts to be there.
    self._devices, self._kind = list(devices), kind
    self._num_local = self.num_devices = len(devices)
    self._first_local, self.num_hosts = 0, 1
    self._mesh = jax.sharding.Mesh(np.asarray(devices), (sharding.AXIS,))
    self.programs = []

  def compile(self, program, donate_argnums=()):
    self.programs.append(super().compile(program, donate_argnums))
    return self.programs[-1]

  def put(self, tree):
    place = self._sharding(True) if self._kind == 'shard_map' else None
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=place), tree)


def _zeros(*shape, dtype=np.float32):
  return np.broadcast_to(np.zeros((), dtype), shape)  # Takes no memory.


def compile_learner_step(
    config: msg.MSGConfig, observation_size: int, action_size: int,
    devices: Sequence[Any]) -> jax.stages.Compiled:
  """Compiles a learner's step on a resident dataset, without running it.

  Args:
    config: the agent's options.
    observation_size: O.
    action_size: A.
    devices: D; with `parallel_map='shard_map'` they may be those of a topology,
      which are not here.
  """
  spec = specs.EnvironmentSpec(
      observations=specs.Array((observation_size,), np.float32),
      actions=specs.BoundedArray((action_size,), np.float32, -1., 1.),
      rewards=specs.Array((), np.float32),
      discounts=specs.BoundedArray((), np.float32, 0., 1.))
  size = 1_000  # T; no collective depends on it.
  action = _zeros(size, action_size)
  data = types.Transition(
      _zeros(size, observation_size), action, _zeros(size), _zeros(size),
      _zeros(size, observation_size),
      {'next_action': action} if config.options_with_next_actions else ())
  networks = msg_builder.make_networks(spec, config)
  optimizers = update.make_optimizers(config)
  shard = sharding.make_shard(networks.critic, config.batch_size, len(devices))
  state = jax.tree.map(
      lambda x: _zeros(*x.shape, dtype=x.dtype),
      jax.eval_shape(lambda key: update.init_state(key, networks, optimizers),
                     jax.random.PRNGKey(0)))
  is_split = update.split_leaves(
      state, networks.critic, optimizers, len(devices))
  shapes = _Shapes(devices, config.parallel_map)
  steps = scanned_program.Program(
      update.make_update_step(networks, config, optimizers, shard), state,
      is_split, shard, shapes, config.num_sgd_steps_per_step,
      config.batch_size, config.resident_data)
  run_resident, _ = shapes.programs
  return run_resident.lower(
      shapes.split(state, is_split), steps.put_dataset(data)).compile()


def describe(collectives: Sequence[Collective]) -> str:
  """Returns the collectives' kinds and shapes, equal ones counted."""
  counts = collections.Counter(
      f'{c.kind} {" ".join(c.shapes[:3])}'
      + (f' and {len(c.shapes) - 3} more' if len(c.shapes) > 3 else '')
      for c in collectives)
  return ', '.join(
      text if count == 1 else f'{count} x {text}'
      for text, count in counts.items())


def _devices() -> Sequence[Any]:
  if _TOPOLOGY.value is None:
    # Read once, when JAX finds its devices; of no effect but on a CPU.
    os.environ['XLA_FLAGS'] = ' '.join([
        os.environ.get('XLA_FLAGS', ''),
        f'--xla_force_host_platform_device_count={_NUM_DEVICES.value}'])
    return jax.devices()[:_NUM_DEVICES.value]
  # As on the machines themselves: a chip of two cores is one device.
  options = ({'chip_config_name': 'megacore'}
             if _TOPOLOGY.value.startswith('v4') else {})
  return topologies.get_topology_desc(
      _TOPOLOGY.value, platform='tpu', **options).devices


def main(argv):
  """Prints a table of the recipes' collectives."""
  del argv
  bindings = list(_GIN_BINDINGS.value)
  if _TOPOLOGY.value:
    # Only shard_map compiles for devices that are not here.
    bindings.append("msg.config.MSGConfig.parallel_map='shard_map'")
    members.SEQUENTIAL = False
  devices = _devices()
  print(f'D={len(devices)}, {devices[0].device_kind}\n')
  columns = ['recipe', 'collectives per gradient step', 'KB', 'which',
             'others per learner step']
  if _TOPOLOGY.value:
    # Of each device. Where a CPU's members take turns, the compiler counts one.
    columns += ['MFLOP', 'MB', 'kernels']
  print(f'| {" | ".join(columns)} |\n{"|---" * len(columns)}|')
  for recipe in _RECIPES.value:
    algorithms.parse_gin([recipe], bindings)
    compiled = compile_learner_step(
        algorithms.make_agent('msg').config, _OBSERVATION_SIZE.value,
        _ACTION_SIZE.value, devices)
    counts = read(compiled.as_text())
    cells = [recipe, len(counts.inside),
             f'{sum(c.num_bytes for c in counts.inside) / 1e3:,.1f}',
             describe(counts.inside), len(counts.outside)]
    if _TOPOLOGY.value:
      cost = compiled.cost_analysis()  # Counts the body of a loop once.
      cells += [f'{cost["flops"] / 1e6:,.0f}',
                f'{cost["bytes accessed"] / 1e6:,.0f}', counts.num_fusions]
    print(f'| {" | ".join(map(str, cells))} |', flush=True)


if __name__ == '__main__':
  app.run(main)
