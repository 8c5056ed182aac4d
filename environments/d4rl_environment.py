"""The real D4RL 1.1 environments, headless, as dm_env environments.

They run on MuJoCo 2.1 through mujoco_py, the engine that D4RL's datasets and
reference scores go with. The packages come from `requirements-d4rl.lock`;
`d4rl_build` compiles the one extension that they need.
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
from typing import Iterator
import warnings

from acme.wrappers import gym_wrapper
from acme.wrappers import single_precision
import dm_env
import gym
import numpy as np

from . import d4rl_build

# The first word of a task's name, and the part of D4RL that registers it.
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

  Observations are flat float32 [O], actions float32 [A] in [-1, 1] (D4RL clips
  those outside), rewards are D4RL's own, unscaled. An episode that reaches its
  goal or fails ends with discount 0; one that is cut by D4RL's time limit ends
  with discount 1. AntMaze's v2 tasks draw the goal anew at each reset, v0 and
  v1 once, when the environment is made. Making an environment downloads
  nothing. The first call on an installation compiles for half a minute.

  Args:
    task_name: D4RL's name with its version, as 'antmaze-large-diverse-v2',
      'halfcheetah-medium-v2', 'maze2d-umaze-v1', 'pen-human-v1' or
      'kitchen-mixed-v0'.
    seed: everything random in the environment follows from it, in [0, 2**32).
      NumPy's global generator, which D4RL draws from, is left as it was.

  Returns:
    The environment.

  Raises:
    ValueError: if D4RL has no such task among the families served here.
    ImportError: if D4RL's packages are not installed.
    RuntimeError: if their extension cannot be compiled.
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
  with _secluded(random):
    _register(family)
    known = [name for name in gym.envs.registry.env_specs
             if name.startswith(f'{family}-')]
    if task_name not in known:
      raise ValueError(
          f'no D4RL task {task_name!r}; there are {", ".join(sorted(known))}')
    with _scratch_folder():
      environment = gym.make(task_name)
    # D4RL's box wrapper has a generator of its own and does not pass seeds on.
    core = environment.unwrapped
    getattr(core, 'wrapped_env', core).seed(seed)
  environment.action_space.seed(seed)
  return single_precision.SinglePrecisionWrapper(
      gym_wrapper.GymWrapper(_Secluded(environment, random)))


class _Secluded(gym.Wrapper):
  """Resets an environment out of sight of the rest of the process."""

  def __init__(self, environment: gym.Env, random: np.random.RandomState):
    super().__init__(environment)
    self._random = random

  def reset(self, **kwargs):
    with _secluded(self._random):
      return self.env.reset(**kwargs)


@contextlib.contextmanager
def _secluded(random: np.random.RandomState) -> Iterator[None]:
  """Lets D4RL draw from `random` and keeps what it prints to itself.

  D4RL draws goals and starts from NumPy's global generator, prints each goal,
  and warns of versions that a comparison with published results has to use.
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
  """Removes the model files that D4RL writes for MuJoCo to read, and leaves."""
  outer = tempfile.tempdir
  with tempfile.TemporaryDirectory() as tempfile.tempdir:
    try:
      yield
    finally:
      tempfile.tempdir = outer


def _register(family: str) -> None:
  """Imports the part of D4RL that registers a family of tasks with gym."""
  variables = dict(os.environ)
  os.environ['MUJOCO_PY_FORCE_CPU'] = '1'  # The name of our extension.
  os.environ['D4RL_SUPPRESS_IMPORT_ERROR'] = '1'  # Of parts not served here.
  try:
    importlib.import_module('mujoco_py')
    _stand_in_for_mjrl()
    # `import d4rl` alone stops at the first part that cannot be imported.
    importlib.import_module(f'd4rl.{_PARTS[family]}')
  finally:
    # mujoco_py replaces LD_LIBRARY_PATH, which every child would inherit.
    os.environ.clear()
    os.environ.update(variables)
  if family == 'kitchen':
    _run_kitchen_on_mujoco_py()


def _stand_in_for_mjrl() -> None:
  """Gives the Adroit hand its base class, for mjrl is not on PyPI.

  All that D4RL uses of mjrl is `mjrl.envs.mujoco_env.MujocoEnv`, a derivative
  of gym's class of that name, which has the same constructor and methods.
  """
  if importlib.util.find_spec('mjrl') is not None:
    return
  base = importlib.import_module('gym.envs.mujoco.mujoco_env')
  mjrl, envs = types.ModuleType('mjrl'), types.ModuleType('mjrl.envs')
  mjrl.__spec__ = importlib.machinery.ModuleSpec('mjrl', None)
  mjrl.envs, envs.mujoco_env = envs, base
  sys.modules.update({
      'mjrl': mjrl, 'mjrl.envs': envs, 'mjrl.envs.mujoco_env': base})


def _run_kitchen_on_mujoco_py() -> None:
  """Turns D4RL's own switch from dm_control, whose MuJoCo refuses the model."""
  module = importlib.import_module('d4rl.kitchen.adept_envs.mujoco_env')
  module.USE_DM_CONTROL = False
  module.collections = collections.abc  # It asks for `collections.Mapping`.
