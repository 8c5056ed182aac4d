"""The rooms import downwards only, and the mathematics needs JAX alone."""

import ast
import importlib.util
import os
import pathlib
import subprocess
import sys

import acme_msg
import pytest

_ROOT = pathlib.Path(acme_msg.__file__).resolve().parent
# What each room may import besides itself and the root's own modules.
_BELOW = {
    'networks': set(),
    'agents': {'networks'},
    'builders': {'agents', 'networks'},
    'environments': set(),
    'datasets': {'environments'},
    'launch': {'agents', 'builders', 'datasets', 'environments', 'networks'},
    'experiments': {
        'agents', 'builders', 'datasets', 'environments', 'launch', 'networks'},
}
# What the mathematics may import besides Python's own library and acme_msg.
_JAX_LIBRARIES = {'chex', 'haiku', 'jax', 'numpy', 'optax'}
# The modules of `agents` that connect the mathematics with Acme.
_WITH_ACME = ('feed_forward_actor', 'learning', 'offline_learner')
_HEAVY = (
    'acme', 'gin', 'launchpad', 'reverb', 'tensorflow',
    'tensorflow_probability')


def _modules() -> dict[str, pathlib.Path]:
  """Returns the files of all rooms and of the root, by their module's name."""
  files = [
      file for room in _BELOW for file in (_ROOT / room).rglob('*.py')]
  files += [file for file in _ROOT.glob('*.py') if file.name != 'setup.py']
  modules = {}
  for file in files:
    parts = file.relative_to(_ROOT).with_suffix('').parts
    if parts[-1] == '__init__':
      parts = parts[:-1]
    modules['.'.join(('acme_msg', *parts))] = file
  return modules


_MODULES = _modules()


def _is_mathematics(name: str) -> bool:
  parts = name.split('.')
  return parts[1:2] == ['networks'] or (
      parts[1:2] == ['agents'] and parts[-1] not in _WITH_ACME)


def _imports(name: str, source: str, is_package: bool) -> set[str]:
  """Returns the full names of all modules that a module's source imports.

  Also inside functions. `from a import b` counts as `a.b` where that is one of
  our modules, since then it imports that module.
  """
  package = name if is_package else name.rpartition('.')[0]
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ''
      if node.level:
        base = importlib.util.resolve_name('.' * node.level + base, package)
      for alias in node.names:
        member = f'{base}.{alias.name}'
        found.add(member if member in _MODULES else base)
  return found


def _imports_of(name: str) -> set[str]:
  file = _MODULES[name]
  return _imports(name, file.read_text(), file.name == '__init__.py')


def _room(name: str) -> str | None:
  """Returns the room of one of our modules; None for others and the root's."""
  parts = name.split('.')
  return parts[1] if (
      parts[0] == 'acme_msg' and len(parts) > 1 and parts[1] in _BELOW
  ) else None


def test_imports_are_found_in_every_form():
  source = '''
import os.path, reverb
from . import config
from ...networks import policy
def late():
  from ...launch.experiment_config import Experiment
  from acme_msg import builders
'''
  assert _imports('acme_msg.agents.msg.learning', source, False) >= {
      'os.path', 'reverb', 'acme_msg.launch.experiment_config',
      'acme_msg.builders'}
  rooms = {
      _room(name)
      for name in _imports('acme_msg.agents.msg.learning', source, False)}
  assert rooms == {None, 'agents', 'networks', 'launch', 'builders'}
  assert 'acme_msg.agents' in _imports(
      'acme_msg.agents.msg', 'from .. import nothing', True)


def test_every_room_is_known():
  rooms = {
      file.parent.name for file in _ROOT.glob('*/__init__.py')} - {'tests'}
  assert rooms == set(_BELOW)


@pytest.mark.parametrize('name', sorted(_MODULES))
def test_imports_run_downwards(name):
  room = _room(name)
  rooms = {_room(imported) for imported in _imports_of(name)} - {None, room}
  assert rooms <= (_BELOW[room] if room else set())


@pytest.mark.parametrize(
    'name', sorted(filter(_is_mathematics, _MODULES)))
def test_mathematics_names_jax_libraries_only(name):
  tops = {imported.partition('.')[0] for imported in _imports_of(name)}
  assert tops <= _JAX_LIBRARIES | {'acme_msg'} | set(sys.stdlib_module_names)


def test_mathematics_imports_without_the_stack():
  """In a new interpreter, in which Acme and TensorFlow cannot be imported."""
  code = f'''
import importlib, sys
sys.modules.update(dict.fromkeys({_HEAVY!r}))
for name in sys.argv[1:]:
  importlib.import_module(name)
loaded = [name for name in {_HEAVY!r} if sys.modules[name] is not None]
assert not loaded, loaded
'''
  names = sorted(filter(_is_mathematics, _MODULES))
  assert 'acme_msg.networks' in names
  done = subprocess.run(
      [sys.executable, '-c', code, *names], capture_output=True, text=True,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu'}, cwd='/')
  assert done.returncode == 0, done.stderr


def test_the_package_has_one_name():
  """No module of ours is also loaded under the name of its folder."""
  doubles = {
      name for name, module in list(sys.modules.items())
      if not name.startswith(('acme_msg', 'tests', '__main__'))
      and (file := getattr(module, '__file__', None))
      and pathlib.Path(file).resolve() in _MODULES.values()}
  assert not doubles
