"""Tests the number of collectives of a gradient step (docs/msg.md 9.1)."""

import os
import re
import subprocess
import sys

import pytest

_BINDINGS = (
    'ensemble_size=8', 'tree_branching=2', 'tree_depth=3', 'tree_width=6',
    'batch_size=16', 'num_sgd_steps_per_step=3',
    'actor_network_hidden_sizes=(6,)', 'critic_network_hidden_sizes=(5,)')
_VALUES = {'f32[16]', 'f32[2,16]', 'f32[16,8]'}  # [B], [2, B] and [B, A].


@pytest.fixture(scope='module')
def table():
  """The collectives of each recipe, with small networks, on eight devices."""
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
  """Returns the arrays that a row of the table lists; checks their number."""
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
    # Matrices of both layers; members share nothing else.
    ('antmaze_batch_ensemble.gin', 2)])
def test_what_members_share_is_summed_too(table, recipe, shared):
  arrays = _found(table[recipe])
  assert _VALUES <= set(arrays)
  assert len(arrays) == 3 + shared


@pytest.mark.parametrize('recipe', [
    'antmaze_mimo.gin', 'antmaze_multi_head.gin'])
def test_split_batches_sum_gradients_alone(table, recipe):
  # Weights and biases of the critic's layer and output, and of the policy's
  # layer and two outputs; and the mean for the temperature's update.
  arrays = _found(table[recipe])
  assert len(arrays) == 2 * 2 + 3 * 2 + 1
  assert arrays.count('f32[]') == 1
  assert not set(arrays) & _VALUES
