"""Finds the collectives in the HLO text of a compiled program.

The text is what `jax.stages.Compiled.as_text()` returns. This module reads only
the computations, their instructions, and which computations these call.
"""

import math
import re
from typing import Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

KINDS = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute',
         'collective-broadcast', 'reduce-scatter')
_ITEM_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's32': 4,
               'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}

_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(
    r'^\s+(?:ROOT )?%?[\w.\-]+ = (\(.*?\)(?= [\w\-]+\()|\S+) ([\w\-]+)\(')
_CALLED = re.compile(
    r'(?:calls|body|condition|to_apply|true_computation|false_computation)='
    r'(%?[\w.\-]+)|branch_computations=\{([^}]*)\}')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')


class Collective(NamedTuple):
  """One collective operation of a compiled program.

  Attributes:
    kind: one of `KINDS`.
    shapes: shapes of the results, such as 'f32[2,256]'.
    num_bytes: size of the results on each device.
  """
  kind: str
  shapes: Tuple[str, ...]
  num_bytes: int


class LoopCounts(NamedTuple):
  """The collectives of a compiled program of several gradient steps.

  Attributes:
    inside: the collectives of one gradient step, in the body of the largest
      loop.
    outside: all other collectives.
    num_fusions: number of fusions and custom calls in the body itself; each is
      one kernel on an accelerator.
  """
  inside: Sequence[Collective]
  outside: Sequence[Collective]
  num_fusions: int


class _Instruction(NamedTuple):
  shape: str
  opcode: str
  called: Tuple[str, ...]  # Names of the computations that it calls.


_Computations = Mapping[str, Sequence[_Instruction]]


def count_in_loop(text: str) -> LoopCounts:
  """Counts the collectives of a learner step, inside and outside its loop.

  Args:
    text: the optimised HLO of a learner step of more than one gradient step.

  Raises:
    ValueError: if there is no loop, or if a loop within the body has
      collectives, whose number would depend on that loop.
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
          'only collectives outside of inner loops can be counted.')
  return LoopCounts(
      within(loops[body]),
      within(_reachable(computations, entry) - loops[body]),
      sum(i.opcode in ('fusion', 'custom-call') for i in computations[body]))


def _parse(text: str) -> Tuple[_Computations, str]:
  """Returns a program's computations by name, and the entry's name."""
  computations: Dict[str, List[_Instruction]] = {}
  entry = ''
  current: List[_Instruction] = []
  for line in text.splitlines():
    if found := _COMPUTATION.match(line):
      current = computations[found[2]] = []
      entry = found[2] if found[1] else entry
    elif found := _INSTRUCTION.match(line):
      names = ' '.join(map(' '.join, _CALLED.findall(line)))
      current.append(_Instruction(
          found[1], found[2], tuple(re.findall(r'[\w.\-]+', names))))
  return computations, entry


def _reachable(computations: _Computations, name: str) -> Set[str]:
  """Returns the names of a computation and of all that it calls."""
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
    if kind not in KINDS:
      continue
    arrays = _ARRAY.findall(instruction.shape)
    if instruction.opcode.endswith('-start') and kind != 'all-reduce':
      arrays = arrays[len(arrays) // 2:]  # Operands stand before results.
    collectives.append(Collective(
        kind, tuple(f'{t}[{dims}]' for t, dims in arrays),
        sum(_ITEM_BYTES[t] * math.prod(map(int, filter(None, dims.split(','))))
            for t, dims in arrays)))
  return collectives
