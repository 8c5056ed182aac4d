"""Runs command lines as a user does, and checks the files they write."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time
from typing import NamedTuple
from unittest import mock

from absl import flags
from absl.testing import flagsaver
from acme_msg.datasets import pointmaze_generator
from acme_msg.environments import d4rl_build
from acme_msg.launch import checkpointing
import h5py
import jax
import numpy as np
import psutil
import pytest

# Lets tests import the modules beside them.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# Seconds until anything counts as hanging, also on a busy machine.
_TIMEOUT = 900


class Result(NamedTuple):
  """How a command ended, and what it printed."""
  code: int
  stdout: str
  stderr: str


def _session(pid):
  """Returns the live processes of the session that a process leads."""
  found = []
  for process in psutil.process_iter():
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
      if (os.getsid(process.pid) == pid
          and process.status() != psutil.STATUS_ZOMBIE):
        found.append(process)
  return found


def _wait_for(condition, what):
  deadline = time.time() + _TIMEOUT
  while not condition():
    assert time.time() < deadline, f'{what} takes more than {_TIMEOUT} s'
    time.sleep(0.1)


@pytest.fixture(name='compile_quickly', scope='module')
def _compile_quickly():
  """Halves the time of compiling, in this process and in its children."""
  with mock.patch.dict(os.environ, JAX_DISABLE_MOST_OPTIMIZATIONS='1'):
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(name='run_here', scope='session')
def _run_here():
  """Runs `experiments.run` in this process; called like `run`.

  It saves the start of Python and its imports where the test is not about
  processes.
  """
  def run_here(*args, **variables):
    from acme_msg.experiments import run as run_lib  # Defines flags.
    code, stdout, stderr = 0, io.StringIO(), io.StringIO()
    with (mock.patch.dict(os.environ, variables), flagsaver.flagsaver(),
          contextlib.redirect_stdout(stdout),
          contextlib.redirect_stderr(stderr)):
      try:
        run_lib.main(flags.FLAGS(['run', *map(str, args)]))
      except SystemExit as e:
        code = 1
        print(e, file=stderr)
      finally:
        flags.FLAGS.unparse_flags()
        jax.config.update('jax_debug_nans', False)
    return Result(code, stdout.getvalue(), stderr.getvalue())
  return run_here


@pytest.fixture(name='run', scope='session')
def _run(tmp_path_factory):
  """Runs a module of experiments to its end; checks that no process is left.

  `run('--seed=1', kill_when=condition, NAME='value')` kills all processes of
  the command if `condition(stdout, stderr)`, given the output so far, becomes
  true before its end. Environment variables are given by name. `code` runs code
  instead of a module.
  """
  def run(*args, module='run', code=None, kill_when=lambda *_: False,
          **variables):
    folder = tmp_path_factory.mktemp('run')
    paths = [folder / name for name in ('stdout', 'stderr')]
    program = ['-c', code] if code else [
        '-m', f'acme_msg.experiments.{module}']
    with paths[0].open('w') as stdout, paths[1].open('w') as stderr:
      process = subprocess.Popen(
          [sys.executable, *program, *args],
          cwd=folder, env={**os.environ, **variables}, stdout=stdout,
          stderr=stderr, start_new_session=True)
    try:
      _wait_for(lambda: process.poll() is not None or kill_when(
          *(path.read_text(errors='replace') for path in paths)), args)
      for killed in _session(process.pid) if process.poll() is None else ():
        killed.kill()
      process.wait()
      _wait_for(lambda: not _session(process.pid), f'The end of {args}')
    finally:
      for left in _session(process.pid):
        left.kill()
      process.wait()
    return Result(process.returncode, *(path.read_text() for path in paths))
  return run


@pytest.fixture(name='check_run', scope='session')
def _check_run():
  """Checks that a run has all evaluations, its checkpoint, record and curve."""
  def check(root_dir, steps, episodes):
    with np.load(root_dir / 'evaluations.npz') as found:
      np.testing.assert_array_equal(found['steps'], steps)
      assert found['returns'].shape == (len(steps), episodes)
      assert found['scores'].shape == (len(steps), episodes)
      assert (found['lengths'] > 0).all()
    assert checkpointing.latest_step(str(root_dir)) == steps[-1]
    for name in ('config.json', 'learning_curve.png'):
      assert (root_dir / name).stat().st_size
  return check


@pytest.fixture(name='pointmaze_file', scope='session')
def _pointmaze_file(tmp_path_factory):
  """A small dataset of the embedded task 'pointmaze-umaze-diverse'."""
  path = tmp_path_factory.mktemp('pointmaze') / 'small.hdf5'
  pointmaze_generator.write(
      str(path), 'pointmaze-umaze-diverse', num_transitions=2000)
  return str(path)


@pytest.fixture(name='needs_d4rl', scope='session')
def _needs_d4rl():
  """Skips a test if the real D4RL environments cannot run."""
  try:
    d4rl_build.check_packages()
  except ImportError as e:
    pytest.skip(str(e))
  if not d4rl_build.extension_path().exists() and not shutil.which('gcc'):
    pytest.skip('no gcc to compile mujoco_py with')


@pytest.fixture(name='antmaze_large_dir', scope='session')
def _antmaze_large_dir(tmp_path_factory):
  """A directory with RANDOM numbers as the file of antmaze-large-diverse-v0.

  Layout, sizes and name are those of D4RL's file; an agent can learn nothing
  from it.
  """
  random = np.random.RandomState(0)
  rows = 1200
  ends = np.zeros((2, rows), bool)
  ends[0, [150, 800]] = ends[1, [400, 1000]] = True
  folder = tmp_path_factory.mktemp('d4rl')
  with h5py.File(
      folder / 'Ant_maze_hardest-maze_noisy_multistart_True_multigoal_True_'
      'sparse.hdf5', 'w') as file:
    file['observations'] = random.randn(rows, 29).astype(np.float32)
    file['actions'] = random.uniform(-1, 1, (rows, 8)).astype(np.float32)
    file['rewards'] = ends[0].astype(np.float32)
    file['terminals'], file['timeouts'] = ends
  return str(folder)
