"""Tests reading the collectives of a compiled program."""

from acme_msg.experiments.benchmark import hlo
import pytest

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


def test_reads_collectives_in_all_forms():
  inside, outside, num_fusions = hlo.count_in_loop(_PROGRAM)
  assert inside == [
      ('all-reduce', ('f32[4,2]',), 32),
      ('all-reduce', ('f32[8]', 'bf16[3]'), 38),
      ('all-gather', ('f32[16]',), 64)]
  assert outside == [('all-gather', ('f32[8]',), 32)]
  assert num_fusions == 1


def test_refuses_programs_that_it_cannot_count():
  inner = _PROGRAM.replace(
      '%c = (f32[8]{0}, bf16[3]{0}) all-reduce-done(%b)',
      '%c = (f32[4,2]{1,0}) while(%b), condition=%more, body=%inner') + '''
%inner (s: (f32[4,2])) -> (f32[4,2]) {
  ROOT %g = f32[8]{0} all-gather(%x), dimensions={0}
}
'''
  with pytest.raises(ValueError, match='inner'):
    hlo.count_in_loop(inner)
  with pytest.raises(ValueError, match='no loop'):
    hlo.count_in_loop(_PROGRAM.replace('while(', 'call('))
