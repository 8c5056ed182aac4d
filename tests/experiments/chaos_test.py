"""Tests that disturbed runs end like undisturbed ones, to the bit."""

import os
import shutil

from acme_msg.experiments.chaos import disturbed
from acme_msg.experiments.chaos import faults
from acme_msg.experiments.chaos import reference
from acme_msg.experiments.chaos import results
from acme_msg.experiments.chaos import torment
from acme_msg.launch import local
import numpy as np
import pytest

_NUM_STEPS = 48
_FAULTS = (
    faults.Fault('SIGKILL', 'evaluator', 'step', False),
    # While a checkpoint is written; a bit of the one before it is flipped.
    faults.Fault('SIGKILL', 'launcher', 'save', True),
)


class _Disturber(faults.Disturber):
  """Makes the faults of this test, in turn."""

  def draw(self, has_begun):
    del has_begun
    return next(self.faults)

  faults = iter(_FAULTS)


@pytest.fixture(name='undisturbed', scope='module')
def _undisturbed(tmp_path_factory):
  root_dir = str(tmp_path_factory.mktemp('undisturbed') / 'run')
  local.run_local(reference.make(root_dir, num_steps=_NUM_STEPS))
  return root_dir


def test_killed_program_ends_like_one_undisturbed_process(
    undisturbed, tmp_path):
  run = disturbed.Run(str(tmp_path / 'run'), 'resident', _NUM_STEPS,
                      str(tmp_path / 'output'))
  run.finish(_Disturber(seed=0), len(_FAULTS))
  assert not results.compare(
      results.load(run.root_dir), results.load(undisturbed))
  assert [event.fault for event in run.events] == [*_FAULTS]
  evaluator, launcher = run.events
  assert evaluator.code is None and evaluator.seconds_to_resume > 0
  assert launcher.code == -9
  assert launcher.seconds_to_resume > launcher.seconds_to_end > 0
  assert launcher.flipped.startswith('checkpoints/')
  output = (tmp_path / 'output').read_text()
  assert 'the node evaluator/0 was killed by SIGKILL' in output
  assert 'is damaged: ' in output
  redone = results.num_repeated(run.root_dir)
  assert redone > 0
  figures = torment.summarize([{
      'seconds': run.seconds, 'undisturbed_seconds': run.seconds / 2,
      'gradient_steps': 480, 'gradient_steps_redone': 10 * redone,
      'differing_bits': {}}], run.events)
  assert figures['faults'] == 2 and figures['programs_ended'] == 1
  assert figures['goodput'] == 0.5 and figures['differing_bits'] == 0


def _flip_evaluation(root_dir):
  path = os.path.join(root_dir, 'evaluations.npz')
  with np.load(path) as file:
    arrays = dict(file)
  arrays['returns'].view(np.uint8)[3, 5] ^= 1
  np.savez(path, **arrays)


def _do_a_step_again_otherwise(root_dir):
  path = reference.every_step_path(root_dir)
  with open(path) as file:
    *_, before, last = file.read().splitlines()
  with open(path, 'a') as file:
    file.write(','.join([last.split(',')[0], *before.split(',')[1:]]) + '\n')


def _go_back(root_dir):
  shutil.rmtree(os.path.join(root_dir, 'checkpoints', '480'))


@pytest.mark.parametrize('change, name, least', [
    (_flip_evaluation, 'evaluations.npz returns', 1),
    (_do_a_step_again_otherwise, 'every_step 480 (1)', 100),
    (_go_back, "checkpoint['critic_params']", 100),
])
def test_differing_bits_are_found(undisturbed, tmp_path, change, name, least):
  root_dir = str(tmp_path / 'run')
  shutil.copytree(undisturbed, root_dir)
  wanted = results.load(undisturbed)
  assert not results.compare(results.load(root_dir), wanted)
  change(root_dir)
  found = results.compare(results.load(root_dir), wanted)
  assert sum(bits for at, bits in found.items() if at.startswith(name)) >= least
  if change is _flip_evaluation:
    assert found == {'evaluations.npz returns': 1}
