"""Tests that checkpoints hold learner and counter; partial ones are ignored."""

import os
import shutil

from acme import core
from acme.utils import counting
from acme_msg.launch import checkpointing
import cloning
import jax
import numpy as np
import optax


class _Holder(core.Learner):
  """A learner that only holds a state."""

  def __init__(self, state):
    self.state = state

  def step(self):
    pass

  def get_variables(self, names):
    return []

  def save(self):
    return self.state

  def restore(self, state):
    self.state = state


def _state(value):
  params = {'linear': {'w': np.full((2, 3), value, np.float32)}}
  optimizer = optax.chain(optax.clip_by_global_norm(1.), optax.adam(1e-3))
  return cloning.State(
      params, jax.device_get(optimizer.init(params)),
      np.asarray(jax.random.PRNGKey(value)))


def _save(root_dir, *steps):
  manager = checkpointing.CheckpointManager(root_dir)
  for step in steps:
    counter = counting.Counter()
    child = counting.Counter(counter, prefix='learner', time_delta=0.)
    child.increment(steps=step, walltime=0.5)
    manager.save(step, _Holder(_state(step)), child)
  manager.close()


def _restore(root_dir):
  learner, counter = _Holder(_state(0)), counting.Counter()
  step = checkpointing.CheckpointManager(root_dir).restore(learner, counter)
  return step, learner.state, counter


def test_restores_structure_bits_and_counts(tmp_path):
  _save(str(tmp_path), 5)
  step, state, counter = _restore(str(tmp_path))
  assert step == 5
  assert (jax.tree_util.tree_structure(state) ==
          jax.tree_util.tree_structure(_state(5)))
  jax.tree_util.tree_map(np.testing.assert_array_equal, state, _state(5))
  assert state.key.dtype == np.uint32
  assert counter.get_counts() == {'learner_steps': 5, 'learner_walltime': 0.5}
  child = counting.Counter(counter, prefix='learner', time_delta=0.)
  assert child.increment(steps=2)['learner_steps'] == 7


def test_nothing_saved_restores_nothing(tmp_path):
  assert checkpointing.latest_step(str(tmp_path)) is None
  step, state, counter = _restore(str(tmp_path))
  assert step == 0 and counter.get_counts() == {}
  np.testing.assert_array_equal(state.key, _state(0).key)


def test_keeps_the_last_three_and_saves_a_step_once(tmp_path):
  _save(str(tmp_path), 1, 2, 3, 4, 4)
  _save(str(tmp_path), 4)
  assert sorted(os.listdir(tmp_path / 'checkpoints')) == ['2', '3', '4']


def test_partial_checkpoint_is_ignored(tmp_path):
  _save(str(tmp_path), 1, 2)
  # As a process leaves it that is killed while saving step 3.
  partial = tmp_path / 'checkpoints' / '3.orbax-checkpoint-tmp'
  shutil.copytree(tmp_path / 'checkpoints' / '2', partial)
  shutil.rmtree(partial / 'learner')
  assert checkpointing.latest_step(str(tmp_path)) == 2
  step, state, _ = _restore(str(tmp_path))
  assert step == 2
  jax.tree_util.tree_map(np.testing.assert_array_equal, state, _state(2))
  _save(str(tmp_path), 3)
  assert _restore(str(tmp_path))[0] == 3
