"""scripts/setup.sh says in a sentence what a machine lacks."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# The programs that the script may find on a machine without Python.
_PROGRAMS = (
    'awk', 'bash', 'cat', 'cut', 'dirname', 'env', 'flock', 'grep', 'mkdir',
    'mv', 'rm', 'sha256sum', 'tail', 'tee', 'uname')


@pytest.fixture(name='checkout')
def _checkout(tmp_path):
  """A copy of what the script reads, in a folder with a blank in its name."""
  root = tmp_path / 'a checkout'
  (root / 'environments').mkdir(parents=True)
  for name in (
      'requirements.lock', 'requirements-d4rl.lock', 'requirements-dev.lock',
      'setup.py', 'pyproject.toml', 'environments/d4rl_build.py'):
    shutil.copy(_ROOT / name, root / name)
  shutil.copytree(_ROOT / 'scripts', root / 'scripts')
  programs = tmp_path / 'bin'
  programs.mkdir()
  for name in _PROGRAMS:
    (programs / name).symlink_to(shutil.which(name))
  return root


def _run(checkout, part, **environment):
  """Runs the script with nothing on the PATH but the programs above."""
  environment = {
      'PATH': str(checkout.parent / 'bin'), 'HOME': str(checkout.parent),
      **environment}
  return subprocess.run(
      ['bash', str(checkout / 'scripts' / 'setup.sh'), part], env=environment,
      capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900,
      cwd='/')


@pytest.mark.parametrize('part', ['base', 'dev', 'd4rl', 'test'])
def test_without_python_310_it_says_what_to_install(checkout, part):
  done = _run(checkout, part)
  assert done.returncode != 0
  assert done.stdout == ''
  message, = done.stderr.splitlines()
  assert message.startswith('setup: Python 3.10 with its venv module was not')
  assert 'python3.10-venv' in message and 'uv' in message
  assert not (checkout / '.venv').exists()


def test_a_broken_shim_is_not_taken_for_python(checkout):
  shim = checkout.parent / 'bin' / 'python3.10'
  shim.write_text('#!/bin/sh\nexit 127\n')
  shim.chmod(0o755)
  done = _run(checkout, 'base', PYTHON='/no/python')
  assert done.returncode != 0
  first, second = done.stderr.splitlines()
  assert first.startswith('PYTHON=/no/python is no Python 3.10')
  assert 'was not found' in second


def test_an_environment_of_another_kind_is_left_alone(checkout):
  python = checkout / '.venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.symlink_to('/no/python')
  done = _run(checkout, 'base')
  assert done.returncode != 0
  assert '.venv/ exists but holds no working Python 3.10' in done.stderr
  assert os.readlink(python) == '/no/python'


def test_an_unknown_part_is_refused(checkout):
  done = _run(checkout, 'everything')
  assert done.returncode != 0
  assert done.stderr == (
      "setup: unknown part 'everything': say base, dev, d4rl or test.\n")


needs_python_310 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 10), reason='makes a Python 3.10 environment')


@needs_python_310
def test_without_network_it_says_so_and_goes_on_later(checkout):
  """Port 9 of this machine stands for an index that nobody can reach."""
  environment = {
      'PYTHON': sys.executable, 'PIP_CONFIG_FILE': os.devnull,
      'PIP_INDEX_URL': 'http://127.0.0.1:9/simple', 'PIP_RETRIES': '1'}
  done = _run(checkout, 'base', **environment)
  assert done.returncode != 0
  message, = done.stderr.splitlines()
  assert message.startswith('setup: the package index cannot be reached')
  assert 'NewConnectionError' in (checkout / '.venv/setup.log').read_text()
  # Not finished, and not taken for it; the environment is not made again.
  again = _run(checkout, 'base', **environment)
  assert again.returncode != 0
  assert 'Making' in done.stdout and 'Making' not in again.stdout


def _stamp(checkout, part, *files):
  """Marks a part as done for the files as they are, as the script does."""
  contents = f'{checkout}\n'.encode() + b''.join(
      (checkout / file).read_bytes() for file in files)
  venv = checkout / '.venv'
  venv.mkdir(exist_ok=True)
  (venv / f'{part}.stamp').write_text(
      hashlib.sha256(contents).hexdigest() + '\n')


def _stamp_base_and_dev(checkout):
  _stamp(checkout, 'base', 'requirements.lock', 'setup.py', 'pyproject.toml')
  _stamp(checkout, 'dev', 'requirements.lock', 'requirements-dev.lock')


def test_what_is_done_is_not_done_again(checkout):
  _stamp_base_and_dev(checkout)
  _stamp(checkout, 'd4rl', 'requirements.lock', 'requirements-d4rl.lock',
         'environments/d4rl_build.py')
  done = _run(checkout, 'test')
  assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_a_changed_lock_is_installed(checkout):
  _stamp(checkout, 'base', 'requirements.lock', 'setup.py', 'pyproject.toml')
  with open(checkout / 'requirements.lock', 'a') as lock:
    lock.write('# changed\n')
  done = _run(checkout, 'base')
  assert done.returncode != 0
  assert 'Python 3.10 with its venv module was not found' in done.stderr


def test_without_a_compiler_only_d4rl_is_refused(checkout):
  _stamp_base_and_dev(checkout)
  refused = _run(checkout, 'd4rl')
  assert refused.returncode != 0
  message, = refused.stderr.splitlines()
  assert 'lacks a C compiler (gcc)' in message
  test = _run(checkout, 'test')
  assert test.returncode == 0
  message, = test.stdout.splitlines()
  assert 'lacks a C compiler (gcc): going on without' in message


def test_damaged_packages_are_forgotten(tmp_path):
  """Real packages of this environment, one of them unpacked in part."""
  site = pathlib.Path(sysconfig.get_path('purelib'))
  copied = {}
  for name in ('absl_py', 'tqdm', 'iniconfig'):
    info, = site.glob(f'{name}-*.dist-info')
    package = site / {'absl_py': 'absl'}.get(name, name)
    shutil.copytree(info, tmp_path / info.name)
    shutil.copytree(package, tmp_path / package.name)
    copied[name] = tmp_path / info.name
  (tmp_path / 'tqdm' / 'std.py').unlink()
  (copied['iniconfig'] / 'INSTALLER').unlink()
  done = subprocess.run(
      [sys.executable, str(_ROOT / 'scripts/drop_damaged.py'), str(tmp_path)],
      capture_output=True, text=True, check=True)
  assert copied['absl_py'].exists()
  assert not copied['tqdm'].exists()
  assert not copied['iniconfig'].exists()
  assert len(done.stdout.splitlines()) == 2
