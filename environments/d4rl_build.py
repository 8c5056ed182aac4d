"""Compiles the extension of mujoco_py once, with a C compiler alone.

D4RL's environments run on `mujoco_py`. Its wheel, `free-mujoco-py`, contains
the MuJoCo 2.1 library and compiles a Cython extension at the first import,
which requires OSMesa, GLEW, the OpenGL headers and patchelf. Physics needs none
of them. This module links the extension against the library without rendering,
and replaces the rendering functions by stubs that report why they fail. It
writes the extension where `mujoco_py` looks for it, so that importing
`mujoco_py` does not compile.

  python -m acme_msg.environments.d4rl_build
"""

import ctypes
import importlib.util
import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from absl import logging

_INSTALL = (
    '`make d4rl` in the repository, or elsewhere with `pip install '
    'acme_msg[d4rl]` and then `pip install --no-deps d4rl==1.1`')
_PACKAGES = {  # Modules, and the packages that contain them.
    'mujoco_py': 'free-mujoco-py==2.1.6',
    'd4rl': 'd4rl==1.1',
    'Cython': 'cython==0.29.37',
    'fasteners': 'fasteners',
    'imageio': 'imageio<3',
}
# Relative to the folder of mujoco_py.
_LIBRARY = pathlib.Path('binaries', 'linux', 'mujoco210')
# A rendering context calls these functions before it draws. Their stubs return
# 0, which mujoco_py turns into a RuntimeError for `initOpenGL`. The stubs of
# other rendering functions end the process.
_HARMLESS = (
    'initOpenGL', 'closeOpenGL', 'usingEGL', 'mjr_defaultContext',
    'mjr_freeContext')


def check_packages() -> None:
  """Checks that D4RL's packages are installed, without importing them.

  Raises:
    ImportError: if a package is missing; the message says how to install all.
  """
  missing = [
      package for module, package in _PACKAGES.items()
      if importlib.util.find_spec(module) is None]
  if missing:
    raise ImportError(
        f'the D4RL environments need {", ".join(missing)}, not installed for '
        f'{sys.executable}; install them with {_INSTALL}')


def mujoco_py_folder() -> pathlib.Path:
  """Returns the folder of mujoco_py without importing it."""
  check_packages()
  return pathlib.Path(importlib.util.find_spec('mujoco_py').origin).parent


def extension_path() -> pathlib.Path:
  """Returns the path from which `mujoco_py.builder` loads the extension."""
  folder = mujoco_py_folder()
  version = runpy.run_path(str(folder / 'version.py'))['get_version']()
  python = f'{sys.version_info.major}{sys.version_info.minor}'
  return folder / 'generated' / (
      f'cymj_{version}_{python}_linuxcpuextensionbuilder_{python}.so')


def build() -> bool:
  """Compiles the extension, unless it exists and loads.

  Several processes may call this at once: one compiles, the others wait. The
  environment variables CC and CFLAGS choose the compiler and add flags.

  Returns:
    True if it compiled, False if there was nothing to do.

  Raises:
    ImportError: if D4RL's packages are not installed.
    RuntimeError: if this is not Linux on x86-64, if there is no C compiler or
      no Python headers, if the installation is not writable, or if compiling
      fails (with the compiler's output).
  """
  target = extension_path()
  if not _load_error(target):
    return False
  if sys.platform != 'linux' or os.uname().machine != 'x86_64':
    raise RuntimeError(
        'the MuJoCo 2.1 library of free-mujoco-py is for Linux on x86-64, but '
        f'this is {sys.platform} on {os.uname().machine}')
  if not os.access(target.parent, os.W_OK):
    raise RuntimeError(
        f'cannot write to {target.parent}, where mujoco_py looks for its '
        'extension: run `python -m acme_msg.environments.d4rl_build` once as '
        'the owner of this installation, or install into a virtual '
        'environment')
  compiler = shlex.split(os.environ.get('CC', 'gcc'))
  if shutil.which(compiler[0]) is None:
    raise RuntimeError(
        f'no C compiler: {compiler[0]!r} is not on the PATH. Install gcc or '
        'set CC; it is needed once, to compile the extension of mujoco_py')
  headers = pathlib.Path(sysconfig.get_paths()['include'])
  if not (headers / 'Python.h').exists():
    raise RuntimeError(
        f'no Python.h in {headers}: install the headers of this Python '
        '(Debian: python3-dev); the extension of mujoco_py needs them')

  import fasteners  # Installed with D4RL's packages only.
  with fasteners.InterProcessLock(target.with_suffix('.lock')):
    if not _load_error(target):  # Another process compiled it.
      return False
    logging.info('Compiling the extension of mujoco_py, once: half a minute.')
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
      _compile(compiler, headers, pathlib.Path(scratch), target)
  return True


def _compile(
    compiler: list[str],
    headers: pathlib.Path,
    scratch: pathlib.Path,
    target: pathlib.Path,
) -> None:
  """Translates, compiles and links the extension, and moves it in place."""
  import numpy as np
  folder = mujoco_py_folder()
  translated, stubs = scratch / 'cymj.c', scratch / 'no_rendering.c'
  stubs.write_text(_rendering_stubs(folder))
  _run([sys.executable, '-m', 'cython', 'cymj.pyx', '-o', str(translated)],
       cwd=folder)
  # In the target's folder: the extension finds the library relative to it.
  built = target.with_suffix(f'.{os.getpid()}.tmp')
  try:
    _run([
        *compiler, '-shared', '-fPIC', '-O1', '-w',
        *shlex.split(os.environ.get('CFLAGS', '')), str(translated), str(stubs),
        '-o', str(built),
        *(f'-I{path}' for path in (
            folder, folder / _LIBRARY / 'include', np.get_include(), headers)),
        f'-L{folder / _LIBRARY / "bin"}', '-lmujoco210nogl',
        f'-Wl,-rpath,$ORIGIN/../{_LIBRARY}/bin',
    ], cwd=scratch)
    error = _load_error(built)
    if error:
      raise RuntimeError(
          f'the extension compiled from {folder} does not load: {error}')
    os.replace(built, target)
  finally:
    built.unlink(missing_ok=True)


def _rendering_stubs(folder: pathlib.Path) -> str:
  """Returns C code that defines each function that only rendering needs.

  The linker matches names alone, so headers and argument types are not needed.
  """
  library = (folder / _LIBRARY / 'include' / 'mujoco.h').read_text()
  shim = (folder / 'gl' / 'glshim.h').read_text()
  names = set(re.findall(r'\b(mj(?:r|ui)_\w+)\(', library))
  names |= set(re.findall(r'^(?:unsigned )?(?:int|void) (\w+)\(', shim, re.M))
  lines = [
      '#include <stdio.h>', '#include <stdlib.h>',
      'static int fail(const char* name) {',
      '  fprintf(stderr, "%s: mujoco_py is without rendering\\n", name);',
      '  abort();', '}']
  for name in sorted(names):
    body = '0' if name in _HARMLESS else f'fail("{name}")'
    lines.append(f'int {name}(void) {{ return {body}; }}')
  return '\n'.join(lines) + '\n'


def _run(command: list[str], cwd: pathlib.Path) -> None:
  """Runs a command; raises RuntimeError with its output if it fails."""
  done = subprocess.run(
      command, cwd=cwd, capture_output=True, text=True, check=False)
  if done.returncode:
    raise RuntimeError(
        f'compiling the extension of mujoco_py failed:\n{shlex.join(command)}\n'
        f'{done.stdout}{done.stderr}')


def _load_error(path: pathlib.Path) -> str | None:
  """Returns why a shared library cannot be loaded; None if it can."""
  try:
    ctypes.CDLL(str(path), mode=os.RTLD_NOW)
  except OSError as error:
    return str(error)
  return None


def main() -> None:
  try:
    done = 'compiled' if build() else 'already there'
  except (ImportError, RuntimeError) as error:
    sys.exit(f'error: {error}')
  print(f'{done}: {extension_path()}')


if __name__ == '__main__':
  main()
