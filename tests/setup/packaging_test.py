"""The wheel holds all rooms and nothing else; the requirements agree."""

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import acme_msg
from packaging import metadata
from packaging import requirements
from packaging import utils
import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_ROOMS = (
    'agents', 'builders', 'datasets', 'environments', 'experiments', 'launch',
    'networks')
# Tools that install and build packages.
_NOT_REQUIRED_TO_RUN = {'uv', 'wheel'}
_LOCKS = ('requirements', 'requirements-d4rl', 'requirements-dev')


def _sources():
  """Returns the files of all rooms and of the root's modules."""
  files = {
      file.relative_to(_ROOT) for room in _ROOMS
      for file in (_ROOT / room).rglob('*')
      if file.is_file() and '__pycache__' not in file.parts}
  files |= {file.relative_to(_ROOT) for file in _ROOT.glob('*.py')}
  files.add(pathlib.Path('py.typed'))
  return files - {pathlib.Path('setup.py')}


@pytest.fixture(name='wheel', scope='module')
def _wheel(tmp_path_factory):
  """Our wheel, built in a copy: building leaves files beside the sources."""
  copy = tmp_path_factory.mktemp('copy') / 'checkout'
  shutil.copytree(_ROOT, copy, ignore=shutil.ignore_patterns(
      '.*', '__pycache__', '*.egg-info', 'build', 'dist', 'runs'))
  built = tmp_path_factory.mktemp('built')
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
       '--no-index', '--no-build-isolation', '--wheel-dir', str(built),
       str(copy)], check=True, capture_output=True, text=True)
  path, = built.iterdir()
  return zipfile.ZipFile(path)


def _metadata(wheel):
  name, = (name for name in wheel.namelist() if name.endswith('/METADATA'))
  return metadata.Metadata.from_email(wheel.read(name), validate=False)


def _names(file):
  """Returns the packages that a file in the format of pip names."""
  found = re.findall(
      r'^([A-Za-z0-9][\w.-]*)', (_ROOT / file).read_text(), re.M)
  return {utils.canonicalize_name(name) for name in found}


def _locked(file):
  """Returns the version of each package in a lock."""
  found = re.findall(
      r'^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)', (_ROOT / file).read_text(), re.M)
  return {utils.canonicalize_name(name): version for name, version in found}


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel):
  held = {
      pathlib.PurePosixPath(name) for name in wheel.namelist()
      if '.dist-info/' not in name}
  assert held == {
      pathlib.PurePosixPath('acme_msg', file) for file in _sources()}


def test_what_setup_py_requires_is_what_the_lock_is_made_from(wheel):
  required = {
      utils.canonicalize_name(requirement.name)
      for requirement in _metadata(wheel).requires_dist
      if 'extra' not in str(requirement.marker)}
  assert required == _names('requirements.in') - _NOT_REQUIRED_TO_RUN


def test_the_locks_are_within_the_ranges(wheel):
  locked = {}
  for name in _LOCKS:
    locked.update(_locked(f'{name}.lock'))
  for requirement in _metadata(wheel).requires_dist:
    name = utils.canonicalize_name(requirement.name)
    if name != 'xmanager':  # It is in no lock.
      assert requirement.specifier.contains(locked[name]), requirement


def test_the_extras(wheel):
  assert set(_metadata(wheel).provides_extra) == {
      'cuda12', 'd4rl', 'dev', 'tpu', 'vertex'}


def test_the_version_is_that_of_the_package(wheel):
  assert str(_metadata(wheel).version) == acme_msg.__version__


def test_the_locks_agree():
  base = _locked('requirements.lock')
  for name, version in _locked('requirements-dev.lock').items():
    assert base.get(name, version) == version, name


@pytest.mark.parametrize('name', _LOCKS)
def test_a_lock_is_exact_hashed_and_names_no_index(name):
  text = (_ROOT / f'{name}.lock').read_text()
  assert _names(f'{name}.in') <= set(_locked(f'{name}.lock'))
  entries = re.findall(
      r'^([A-Za-z0-9].*(?:\n[ ]+--hash=sha256:[0-9a-f]{64}.*)*)', text, re.M)
  for entry in entries:
    first, *hashes = entry.splitlines()
    requirement = requirements.Requirement(first.rstrip(' \\'))
    specifier, = requirement.specifier
    assert specifier.operator == '==' and '*' not in specifier.version, first
    assert hashes, first
  assert '://' not in text and '--index' not in text and '--find' not in text
