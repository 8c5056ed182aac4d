"""The D4RL 1.1 environments without rendering, as dm_env environments.

They run on MuJoCo 2.1 through mujoco_py, the engine with which D4RL's datasets
and reference scores were made. The packages are those of
`requirements-d4rl.lock`; `d4rl_build` compiles the extension of mujoco_py.
"""

import collections.abc
import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import tempfile
import types
from typing import Any, Iterator
import warnings

from acme.wrappers import gym_wrapper
from acme.wrappers import single_precision
import dm_env
import gym
import numpy as np

from . import d4rl_build

# The first word of a task's name, and the D4RL subpackage that registers it.
_PARTS = {
    'antmaze': 'locomotion',
    'ant': 'gym_mujoco',
    'halfcheetah': 'gym_mujoco',
    'hopper': 'gym_mujoco',
    'walker2d': 'gym_mujoco',
    'maze2d': 'pointmaze',
    'pen': 'hand_manipulation_suite',
    'hammer': 'hand_manipulation_suite',
    'door': 'hand_manipulation_suite',
    'relocate': 'hand_manipulation_suite',
    'kitchen': 'kitchen',
}


def make(task_name: str, seed: int) -> dm_env.Environment:
  """Makes a D4RL environment.

  Observations are float32 `[O]`, actions float32 `[A]` in [-1, 1] (D4RL clips
  larger ones), and rewards are those of D4RL, unscaled. An episode that reaches
  its goal or fails ends with discount 0; an episode that reaches D4RL's time
  limit ends with discount 1. AntMaze's v2 tasks draw the goal at each reset, v0
  and v1 once, when the environment is made. Nothing is downloaded. The first
  call on an installation compiles for half a minute.

  Args:
    task_name: D4RL's name with its version, such as 'antmaze-large-diverse-v2',
      'halfcheetah-medium-v2', 'maze2d-umaze-v1', 'pen-human-v1' or
      'kitchen-mixed-v0'.
    seed: seeds all random draws of the environment, in [0, 2**32). The state of
      NumPy's global generator, which D4RL uses, does not change.

  Returns:
    The environment.

  Raises:
    ValueError: if the task is unknown, or of a family that is not supported.
    ImportError: if D4RL's packages are not installed.
    RuntimeError: if the extension of mujoco_py cannot be compiled.
  """
  family = task_name.split('-')[0]
  if family not in _PARTS:
    raise ValueError(
        f'no D4RL task {task_name!r}: its name must start with one of '
        f'{", ".join(_PARTS)}')
  try:
    d4rl_build.build()
  except (ImportError, RuntimeError) as error:
    raise type(error)(f'cannot make the task {task_name!r}: {error}') from error

  random = np.random.RandomState(seed)
  with _isolated(random):
    _register(family)
    known = [name for name in gym.envs.registry.env_specs
             if name.startswith(f'{family}-')]
    if task_name not in known:
      raise ValueError(
          f'no D4RL task {task_name!r}; there are {", ".join(sorted(known))}')
    with _scratch_folder():
      environment = gym.make(task_name)
    # D4RL's box wrapper does not pass seeds to the environment that it wraps.
    core = environment.unwrapped
    getattr(core, 'wrapped_env', core).seed(seed)
  environment.action_space.seed(seed)
  return single_precision.SinglePrecisionWrapper(
      gym_wrapper.GymWrapper(_Isolated(environment, random)))


class _Isolated(gym.Wrapper):
  """Resets an environment without effects on the rest of the process."""

  def __init__(self, environment: gym.Env, random: np.random.RandomState):
    super().__init__(environment)
    self._random = random

  def reset(self, **kwargs):
    with _isolated(self._random):
      return self.env.reset(**kwargs)


@contextlib.contextmanager
def _isolated(random: np.random.RandomState) -> Iterator[None]:
  """Makes D4RL draw from `random`, and hides its output and warnings.

  D4RL draws goals and starts from NumPy's global generator, prints each goal,
  and warns about old versions, which published results use.
  """
  outer = np.random.get_state()
  np.random.set_state(random.get_state())
  try:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  finally:
    random.set_state(np.random.get_state())
    np.random.set_state(outer)


@contextlib.contextmanager
def _scratch_folder() -> Iterator[None]:
  """Removes the model files that D4RL leaves in the temporary folder."""
  outer = tempfile.tempdir
  with tempfile.TemporaryDirectory() as folder:
    tempfile.tempdir = folder
    try:
      yield
    finally:
      tempfile.tempdir = outer


def _register(family: str) -> None:
  """Imports the D4RL subpackage that registers a family with gym."""
  variables = dict(os.environ)
  os.environ['MUJOCO_PY_FORCE_CPU'] = '1'  # Names `d4rl_build`'s extension.
  os.environ['D4RL_SUPPRESS_IMPORT_ERROR'] = '1'  # For unsupported families.
  try:
    importlib.import_module('mujoco_py')
    _provide_mjrl()
    # `import d4rl` stops at the first subpackage that cannot be imported.
    importlib.import_module(f'd4rl.{_PARTS[family]}')
  finally:
    # mujoco_py replaces LD_LIBRARY_PATH, which child processes would inherit.
    os.environ.clear()
    os.environ.update(variables)
  if family == 'kitchen':
    _run_kitchen_on_mujoco_py()


def _provide_mjrl() -> None:
  """Provides the base class of the Adroit tasks, since mjrl is not on PyPI.

  D4RL uses only `mjrl.envs.mujoco_env.MujocoEnv`, which derives from gym's
  class of that name and has the same constructor and methods.
  """
  if importlib.util.find_spec('mjrl') is not None:
    return
  base = importlib.import_module('gym.envs.mujoco.mujoco_env')
  mjrl: Any = types.ModuleType('mjrl')
  envs: Any = types.ModuleType('mjrl.envs')
  mjrl.__spec__ = importlib.machinery.ModuleSpec('mjrl', None)
  mjrl.envs, envs.mujoco_env = envs, base
  sys.modules.update({
      'mjrl': mjrl, 'mjrl.envs': envs, 'mjrl.envs.mujoco_env': base})


def _run_kitchen_on_mujoco_py() -> None:
  """Turns off D4RL's use of dm_control, whose MuJoCo rejects the model."""
  module: Any = importlib.import_module('d4rl.kitchen.adept_envs.mujoco_env')
  module.USE_DM_CONTROL = False
  module.collections = collections.abc  # It uses `collections.Mapping`.
