"""Tests that checkpoints hold learner and counter; partial ones are ignored."""

import os
import random
import shutil

from acme import core
from acme.utils import counting
from acme_msg.launch import checkpointing
from acme_msg.launch import checksums
import cloning
import jax
import numpy as np
import optax
import pytest


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
    manager.save(step, _Holder(_state(step)), child, {'epoch': 0, 'row': step},
                 {step - 1: b'weights'})
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


def _find(root_dir):
  """Returns the intact checkpoint's step, and what was said."""
  said = []
  return checkpointing.find_intact(str(root_dir), said.append), said


def _flip(path, bit):
  content = bytearray(path.read_bytes())
  content[bit // 8] ^= 1 << bit % 8
  path.write_bytes(content)


def _files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def test_every_damage_is_named_and_the_checkpoint_before_is_used(tmp_path):
  good = tmp_path / 'good'
  _save(str(good), 1, 2)
  assert _find(good) == (2, [])
  newest = good / 'checkpoints' / '2'
  files = _files(newest)
  kinds = {path.relative_to(newest).parts[0] for path in files}
  assert kinds == {'_CHECKPOINT_METADATA', 'SHA256SUMS', 'counter',
                   'evaluations', 'learner', 'position'}
  random.seed(0)
  damages = [(path, random.randrange(8 * path.stat().st_size))
             for path in [*files, *random.choices(files, k=12)]]
  damages += [(path, how) for path in files for how in ('cut', 'lost')]
  for number, (path, how) in enumerate(damages):
    run = tmp_path / str(number)
    shutil.copytree(good, run)
    path = run / path.relative_to(good)
    name = str(path.relative_to(run / 'checkpoints' / '2'))
    if how == 'lost':
      path.unlink()
    elif how == 'cut':
      path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    else:
      _flip(path, how)
    found, [said] = _find(run)
    assert found == 1
    # A changed list of checksums may blame any file.
    assert name in said or name == checksums.NAME, (name, how, said)
    assert 'damaged-2' in said and 'that of step 1 is used' in said
    left = {path.name for path in (run / 'checkpoints').iterdir()}
    assert left == {'1', 'damaged-2'}
  assert _restore(str(run))[0] == 1
  jax.tree_util.tree_map(
      np.testing.assert_array_equal, _restore(str(run))[1], _state(1))
  _save(str(run), 2)  # The step can be saved again.
  assert _find(run) == (2, [])


def test_no_intact_checkpoint_is_an_error_and_nothing_is_moved(tmp_path):
  _save(str(tmp_path), 1, 2)
  for step in '12':
    (tmp_path / 'checkpoints' / step / 'counter' / 'metadata').write_text('{')
  before = _files(tmp_path)
  with pytest.raises(ValueError, match='All .* in 2, counter/metadata .* in 1'):
    _find(tmp_path)
  with pytest.raises(ValueError, match='/2 is damaged: counter/metadata'):
    checkpointing.restore_variables(str(tmp_path), {})
  assert _files(tmp_path) == before


def test_checkpoint_without_checksums_is_taken_and_that_is_said(tmp_path):
  _save(str(tmp_path), 1, 2)
  newest = tmp_path / 'checkpoints' / '2'
  metadata = newest / '_CHECKPOINT_METADATA'
  # As an earlier version wrote it.
  metadata.write_text(metadata.read_text().replace('"SHA256SUMS": true', ''))
  for item in ('evaluations', 'position'):
    shutil.rmtree(newest / item)
  (newest / 'SHA256SUMS').unlink()
  found, [said] = _find(tmp_path)
  assert found == 2 and 'written without checksums' in said
  manager = checkpointing.CheckpointManager(str(tmp_path), 2)
  assert manager.restore_pending() == {}
  assert manager.restore_position() is None
  assert _restore(str(tmp_path))[0] == 2
  # A damaged one cannot be found out before it is restored.
  _flip(newest / 'counter' / 'metadata', 8 * 19)
  with pytest.raises(ValueError, match='/2.*damaged'):
    _restore(str(tmp_path))


def test_pending_evaluations_and_position_are_restored(tmp_path):
  _save(str(tmp_path), 1, 2)
  manager = checkpointing.CheckpointManager(str(tmp_path))
  assert manager.restore_pending() == {1: b'weights'}
  assert manager.restore_position() == {'epoch': 0, 'row': 2}
