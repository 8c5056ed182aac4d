"""Tests of runs on machines without room, rights or memory."""

import contextlib
import os
import resource
import signal

from acme_msg.launch import checkpointing
from acme_msg.launch import command_line
from acme_msg.launch import evaluations
from acme_msg.launch import faults
from acme_msg.launch import local
import cloning
import jax.numpy as jnp
import numpy as np
import pytest


@contextlib.contextmanager
def _limited_files(size):
  """Lets this process write no file beyond a size, as on a full disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def _ends_with(error):
  """Returns the line with which a command ends."""
  with pytest.raises(SystemExit) as end:
    command_line.exit_if_expected(error)
  return end.value.code


def _files(folder):
  return {path: path.read_bytes() for path in folder.rglob('*')
          if path.is_file()}


def test_full_disk_keeps_checkpoints_and_is_named(tmp_path):
  local.run_local(cloning.make_experiment(str(tmp_path), num_steps=4))
  before = _files(tmp_path / 'checkpoints')
  experiment = cloning.make_experiment(str(tmp_path))
  with _limited_files(3000), pytest.raises(Exception) as error:
    local.run_local(experiment)
  assert _ends_with(error.value) == (
      f'error: {tmp_path}/checkpoints/30: File too large. Raise the limit of '
      'file sizes (`ulimit -f`).')
  after = _files(tmp_path / 'checkpoints')
  assert before == {path: after[path] for path in before}
  assert checkpointing.latest_step(str(tmp_path)) == 20
  local.run_local(experiment)
  assert list(evaluations.load(str(tmp_path))) == [10, 20, 30, 40]


def test_full_temporary_directory_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
  with _limited_files(3000), pytest.raises(OSError) as error:
    local.run_local(cloning.make_streamed_experiment(str(tmp_path / 'run')))
  assert str(tmp_path) in _ends_with(error.value)
  assert not os.listdir(tmp_path)


@pytest.mark.parametrize('run', [local.run_local, local.launch])
def test_place_that_cannot_be_written_is_refused(run, tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(OSError) as error:
    run(cloning.make_experiment(str(tmp_path / 'file' / 'run')))
  assert str(tmp_path / 'file') in _ends_with(error.value)
  assert 'Not a directory' in _ends_with(error.value)


def test_kernel_that_refuses_a_directory_is_explained():
  with pytest.raises(OSError) as error:  # Root must not either.
    local.run_local(cloning.make_experiment('/sys/run'))
  line = _ends_with(error.value)
  assert line.startswith('error: /sys/run: ')
  assert line.endswith('Change its permissions, or name another place.')


@pytest.mark.parametrize('allocate', [
    lambda: np.zeros(2**56), lambda: jnp.zeros(2**46).block_until_ready()])
def test_lack_of_memory_is_explained(allocate):
  with pytest.raises(Exception) as error:
    allocate()
  line = _ends_with(error.value)
  assert line.startswith('error: memory ran out: ')
  assert 'Use smaller batches' in line


@pytest.mark.parametrize('error', [
    KeyError('x'), TypeError('x'), RuntimeError('of another kind')])
def test_bugs_are_not_explained(error):
  assert faults.explain(error) is None
  command_line.exit_if_expected(error)  # Leaves the traceback.


def test_error_of_tensorstore_is_explained():
  text = ('RESOURCE_EXHAUSTED: Error writing "key/0" in local file "/r/c/20.'
          'orbax-checkpoint-tmp/learner.orbax-checkpoint-tmp/": Failed writing:'
          ' "/r/c/20.orbax-checkpoint-tmp/d/77": Failed to write 745butes to '
          'file 13 [OS error 28: ENOSPC No space left on device] [source]')
  assert faults.explain(ValueError(text)) == (
      '/r/c/20: No space left on device. Make room there')


def test_unwritable_directory_is_refused(tmp_path):
  folder = tmp_path / 'folder'
  folder.mkdir(mode=0o500)
  faults.check_writable(str(tmp_path / 'new' / 'run'))
  if os.access(folder, os.W_OK):  # Root may.
    return
  with pytest.raises(OSError, match='not writable'):
    faults.check_writable(str(folder / 'run'))
