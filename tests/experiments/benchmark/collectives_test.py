"""The collectives of a gradient step: as many as the design says, no more."""

import os
import re
import subprocess
import sys

from acme_msg.experiments.benchmark import collectives
import pytest

_BINDINGS = (
    'ensemble_size=8', 'tree_branching=2', 'tree_depth=3', 'tree_width=6',
    'batch_size=16', 'num_sgd_steps_per_step=3',
    'actor_network_hidden_sizes=(6,)', 'critic_network_hidden_sizes=(5,)')
_VALUES = {'f32[16]', 'f32[2,16]', 'f32[16,8]'}  # [B], [2, B] and [B, A].


@pytest.fixture(scope='module')
def table():
  """The collectives of each recipe, made small, on eight devices."""
  done = subprocess.run(
      [sys.executable, '-m', 'acme_msg.experiments.benchmark.collectives'] + [
          f'--gin_bindings=msg.config.MSGConfig.{b}' for b in _BINDINGS],
      env={**os.environ, 'JAX_PLATFORMS': 'cpu',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  assert done.returncode == 0, done.stdout[-5000:]
  assert 'D=8, cpu' in done.stdout
  return {cells[1].strip(): cells[2:] for cells in (
      line.split('|') for line in done.stdout.splitlines())
          if len(cells) > 2 and cells[1].strip().endswith('.gin')}


def _found(cells):
  """The count and the list of arrays that a row of the table names."""
  arrays = []
  for count, kind, array in re.findall(
      r'(?:(\d+) x )?(all-\w+) (\w+\[[\d,]*\])', cells[2]):
    assert kind == 'all-reduce'
    arrays += int(count or 1) * [array]
  assert len(arrays) == int(cells[0])
  return arrays


def test_independent_critics_need_three_small_sums(table):
  arrays = _found(table['antmaze.gin'])
  assert len(arrays) == 3 and set(arrays) == _VALUES
  assert float(table['antmaze.gin'][1]) == round(
      4 * (16 + 2 * 16 + 16 * 8) / 1e3, 1)


@pytest.mark.parametrize('recipe, shared', [
    # Weights and biases of the levels with fewer nodes than devices.
    ('antmaze_tree.gin', 2 * 2),
    # Matrices of both layers; all else are the members' own.
    ('antmaze_batch_ensemble.gin', 2)])
def test_what_members_share_is_summed_too(table, recipe, shared):
  arrays = _found(table[recipe])
  assert _VALUES <= set(arrays)
  assert len(arrays) == 3 + shared


@pytest.mark.parametrize('recipe', [
    'antmaze_mimo.gin', 'antmaze_multi_head.gin'])
def test_split_batches_sum_gradients_alone(table, recipe):
  # Weights and biases of a layer and an output, and of a policy's layer and
  # two outputs; and the mean that the temperature follows.
  arrays = _found(table[recipe])
  assert len(arrays) == 2 * 2 + 3 * 2 + 1
  assert arrays.count('f32[]') == 1
  assert not set(arrays) & _VALUES


_PROGRAM = '''
%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%step (s: (f32[4,2])) -> (f32[4,2]) {
  %a = f32[4,2]{1,0:T(8,128)} all-reduce(%x), to_apply=%add
  %b = (f32[8]{0}, /*index=1*/bf16[3]{0}) all-reduce-start(%x), to_apply=%add
  %c = (f32[8]{0}, bf16[3]{0}) all-reduce-done(%b)
  %h = f32[8]{0} fusion(%c), kind=kLoop, calls=%add
  ROOT %d = (f32[2]{0}, f32[16]{0}) all-gather-start(%x), dimensions={0}
}

%more (s: (f32[4,2])) -> pred[] {
  ROOT %e = pred[] compare(%x, %y), direction=LT
}

ENTRY %main (s: (f32[4,2])) -> (f32[4,2]) {
  %w = (f32[4,2]{1,0}) while(%s), condition=%more, body=%step
  ROOT %f = f32[8]{0} all-gather(%x), dimensions={0}
}
'''


def test_reads_collectives_of_all_forms():
  inside, outside, num_fusions = collectives.read(_PROGRAM)
  assert inside == [
      ('all-reduce', ('f32[4,2]',), 32),
      ('all-reduce', ('f32[8]', 'bf16[3]'), 38),
      ('all-gather', ('f32[16]',), 64)]
  assert outside == [('all-gather', ('f32[8]',), 32)]
  assert num_fusions == 1


def test_refuses_what_it_cannot_count():
  inner = _PROGRAM.replace(
      '%c = (f32[8]{0}, bf16[3]{0}) all-reduce-done(%b)',
      '%c = (f32[4,2]{1,0}) while(%b), condition=%more, body=%inner') + '''
%inner (s: (f32[4,2])) -> (f32[4,2]) {
  ROOT %g = f32[8]{0} all-gather(%x), dimensions={0}
}
'''
  with pytest.raises(ValueError, match='inner'):
    collectives.read(inner)
  with pytest.raises(ValueError, match='no loop'):
    collectives.read(_PROGRAM.replace('while(', 'call('))
