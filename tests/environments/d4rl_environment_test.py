"""Tests of the D4RL environments, and of compiling their extension."""

import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import acme
from acme import core
from acme import specs
from acme_msg.environments import d4rl_build
from acme_msg.environments import d4rl_environment
from acme_msg.environments import scores
import numpy as np
import pytest

try:
  d4rl_build.check_packages()
except ImportError as _missing:
  pytest.skip(str(_missing), allow_module_level=True)
if not d4rl_build.extension_path().exists() and not shutil.which('gcc'):
  pytest.skip('no gcc to compile mujoco_py with', allow_module_level=True)

_SIZES = [  # Task, observation and action sizes, time limit.
    ('antmaze-umaze-v2', 29, 8, 700),
    ('antmaze-large-diverse-v0', 29, 8, 1000),
    ('halfcheetah-medium-v2', 17, 6, 1000),
    ('hopper-medium-replay-v0', 11, 3, 1000),
    ('walker2d-medium-v2', 17, 6, 1000),
    ('ant-medium-v2', 111, 8, 1000),
    ('maze2d-umaze-v1', 4, 2, 300),
    ('pen-human-v1', 45, 24, 100),
    ('hammer-cloned-v1', 46, 26, 200),
    ('door-human-v1', 39, 28, 200),
    ('relocate-expert-v1', 39, 30, 200),
    ('kitchen-mixed-v0', 60, 9, 280),
]


class RandomActor(core.Actor):
  """Draws actions uniformly within the spec."""

  def __init__(self, spec: specs.BoundedArray, seed: int):
    self._spec = spec
    self._random = np.random.RandomState(seed)

  def select_action(self, observation):
    del observation
    return self._random.uniform(
        self._spec.minimum, self._spec.maximum).astype(self._spec.dtype)

  def observe_first(self, timestep):
    pass

  def observe(self, action, next_timestep):
    pass

  def update(self, wait=False):
    pass


def rollout(environment, steps, seed=0):
  """Returns the time steps of a reset and of `steps` random actions."""
  actor = RandomActor(environment.action_spec(), seed)
  timesteps = [environment.reset()]
  for _ in range(steps):
    timesteps.append(environment.step(actor.select_action(None)))
  return timesteps


@pytest.mark.parametrize('task_name, observation, action, limit', _SIZES)
def test_specs_and_seeds_and_no_side_effects(
    task_name, observation, action, limit, monkeypatch, capfd, tmp_path):
  downloads = []
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  monkeypatch.setattr(
      urllib.request, 'urlretrieve', lambda *args: downloads.append(args))
  variables = dict(os.environ)
  np.random.seed(3)
  expected = np.random.RandomState(3).uniform(size=4)

  environment = d4rl_environment.make(task_name, seed=1)
  spec = specs.make_environment_spec(environment)
  assert spec.observations.shape == (observation,)
  assert spec.observations.dtype == np.float32
  assert spec.actions.shape == (action,)
  assert spec.actions.dtype == np.float32
  np.testing.assert_array_equal(spec.actions.minimum, -np.ones(action))
  np.testing.assert_array_equal(spec.actions.maximum, np.ones(action))
  assert environment.environment.spec.max_episode_steps == limit

  first = rollout(environment, 20)
  for timestep in first:
    spec.observations.validate(timestep.observation)
  assert all(step.reward.dtype == np.float32 and step.reward.shape == ()
             for step in first if not step.first())
  again = rollout(d4rl_environment.make(task_name, seed=1), 20)
  other = rollout(d4rl_environment.make(task_name, seed=2), 20)
  for a, b in zip(first, again):
    np.testing.assert_array_equal(a.observation, b.observation)
    np.testing.assert_array_equal(a.reward, b.reward)
  assert not np.array_equal(first[0].observation, other[0].observation)
  # Two resets of one environment differ too.
  assert not np.array_equal(
      first[0].observation, environment.reset().observation)

  np.testing.assert_array_equal(np.random.uniform(size=4), expected)
  assert dict(os.environ) == variables
  assert capfd.readouterr().out == ''
  assert not downloads
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('task_name, limit', [
    ('antmaze-umaze-v2', 700), ('halfcheetah-medium-v2', 1000),
    ('maze2d-umaze-v1', 300)])
def test_the_time_limit_truncates(task_name, limit):
  timesteps = rollout(d4rl_environment.make(task_name, seed=0), limit + 1)
  assert not any(step.last() for step in timesteps[:limit])
  assert all(step.discount == 1. for step in timesteps[1:limit])
  assert timesteps[limit].last()
  assert timesteps[limit].discount == 1.
  assert timesteps[limit + 1].first()


def test_falling_terminates():
  timesteps = rollout(d4rl_environment.make('hopper-medium-v2', seed=0), 200)
  ends = [step for step in timesteps if step.last()]
  assert ends
  assert all(step.discount == 0. for step in ends)


def test_reaching_the_goal_terminates_antmaze_with_reward_1():
  environment = d4rl_environment.make('antmaze-medium-play-v2', seed=0)
  environment.reset()
  assert environment.step(np.zeros(8, np.float32)).reward == 0.
  environment.set_xy(environment.target_goal)
  timestep = environment.step(np.zeros(8, np.float32))
  assert timestep.last()
  assert timestep.discount == 0.
  assert timestep.reward == 1.


@pytest.mark.parametrize('version, anew', [('v0', False), ('v2', True)])
def test_antmaze_v2_draws_the_goal_at_each_reset(version, anew):
  def goals(seed):
    environment = d4rl_environment.make(f'antmaze-umaze-{version}', seed)
    goals = []
    for _ in range(3):
      environment.reset()
      goals.append(tuple(environment.target_goal))
    return goals
  assert len(set(goals(0))) == (3 if anew else 1)
  assert goals(0) == goals(0)
  assert goals(0) != goals(1)


@pytest.mark.parametrize(
    'task_name', ['antmaze-umaze-v2', 'hopper-medium-v2', 'maze2d-umaze-v1'])
def test_actions_outside_the_box_are_clipped(task_name):
  one, other = (d4rl_environment.make(task_name, seed=0) for _ in range(2))
  one.reset(), other.reset()
  action = np.ones(one.action_spec().shape, np.float32)
  for _ in range(5):
    np.testing.assert_array_equal(
        one.step(action).observation, other.step(5. * action).observation)


def test_random_antmaze_under_the_environment_loop():
  environment = d4rl_environment.make('antmaze-umaze-v2', seed=0)
  loop = acme.EnvironmentLoop(
      environment, RandomActor(environment.action_spec(), seed=0))
  result = loop.run_episode()
  assert result['episode_length'] == 700
  assert scores.normalized_score(
      'antmaze-umaze-v2', result['episode_return']) == 0.


def test_random_halfcheetah_scores_about_0():
  timesteps = rollout(
      d4rl_environment.make('halfcheetah-medium-v2', seed=0), 1000)
  score = scores.normalized_score(
      'halfcheetah-medium-v2', sum(step.reward for step in timesteps[1:]))
  assert abs(score) < 2.


@pytest.mark.parametrize('task_name, words', [
    ('pointmaze-umaze', 'antmaze, ant, halfcheetah'),
    ('HalfCheetah-v4', 'must start with'),
    ('antmaze-umaze-v7', 'antmaze-umaze-v2'),
    ('antmaze', 'antmaze-large-play-v0')])
def test_unknown_tasks_are_refused_by_name(task_name, words):
  with pytest.raises(ValueError, match=words) as error:
    d4rl_environment.make(task_name, seed=0)
  assert task_name in str(error.value)


def test_missing_packages_are_named_with_the_task(monkeypatch):
  monkeypatch.setitem(d4rl_build._PACKAGES, 'no_such_module', 'no-such==1.0')
  with pytest.raises(ImportError, match='make d4rl') as error:
    d4rl_environment.make('antmaze-umaze-v2', seed=0)
  assert 'antmaze-umaze-v2' in str(error.value)
  assert 'no-such==1.0' in str(error.value)


def test_random_data_passes_d4rls_own_checks(tmp_path):
  collect = runpy.run_path(
      str(pathlib.Path(__file__).with_name('random_antmaze.py')))['collect']
  path = str(tmp_path / 'random.hdf5')
  collect(path, episodes=2)
  environment = d4rl_environment.make('antmaze-umaze-v2', seed=0)
  rows = environment.get_dataset(h5path=path)
  np.testing.assert_array_equal(np.flatnonzero(rows['timeouts'])[:1], [699])
  assert len(rows['rewards']) > 700
  np.testing.assert_array_equal(rows['rewards'], rows['terminals'])
  at_goal = np.linalg.norm(
      rows['observations'][1:, :2] - rows['infos/goal'][:-1], axis=1) <= 0.5
  running = ~(rows['terminals'] | rows['timeouts'])[:-1]
  assert not at_goal[running].any()


@pytest.fixture(name='fresh_mujoco_py', scope='module')
def fixture_fresh_mujoco_py(tmp_path_factory):
  """Copies mujoco_py without its extension; returns variables to use it."""
  site = tmp_path_factory.mktemp('site')
  source = d4rl_build.mujoco_py_folder()
  shutil.copytree(source, site / 'mujoco_py', ignore=shutil.ignore_patterns(
      'binaries', 'cymj_*', '__pycache__', '*.lock'))
  (site / 'mujoco_py' / 'binaries').symlink_to(source / 'binaries')
  return dict(
      os.environ, PYTHONPATH=str(site), MUJOCO_PY_FORCE_CPU='1',
      JAX_PLATFORMS='cpu')


_BUILD = [sys.executable, '-m', 'acme_msg.environments.d4rl_build']


def test_without_a_compiler_the_build_says_so(fresh_mujoco_py):
  done = subprocess.run(
      _BUILD, env=dict(fresh_mujoco_py, CC='no-such-cc'), capture_output=True,
      text=True)
  assert done.returncode == 1
  assert "no C compiler: 'no-such-cc'" in done.stderr
  assert 'Traceback' not in done.stderr


@pytest.mark.skipif(not shutil.which('gcc'), reason='no gcc to compile with')
def test_two_builds_at_once_compile_once_and_the_result_simulates(
    fresh_mujoco_py):
  # A file that is not an extension is replaced.
  path = pathlib.Path(
      fresh_mujoco_py['PYTHONPATH'], 'mujoco_py', 'generated',
      d4rl_build.extension_path().name)
  path.write_text('not an extension')
  builds = [
      subprocess.Popen(
          _BUILD, env=dict(fresh_mujoco_py, CFLAGS='-O0'),  # Half the time.
          stdout=subprocess.PIPE, text=True)
      for _ in range(2)]
  said = sorted(build.communicate()[0].split(':')[0] for build in builds)
  assert said == ['already there', 'compiled']
  code = """if True:
    import mujoco_py
    model = mujoco_py.load_model_from_xml('''
        <mujoco><option timestep="0.01"/><worldbody><body><freejoint/>
        <geom size="1"/></body></worldbody></mujoco>''')
    sim = mujoco_py.MjSim(model)
    for _ in range(100):
      sim.step()
    print(mujoco_py.__file__, sim.data.qpos[2])
    try:
      mujoco_py.MjRenderContextOffscreen(sim, -1)
    except RuntimeError as error:
      print(error)"""
  done = subprocess.run(
      [sys.executable, '-c', code], env=fresh_mujoco_py, check=True,
      capture_output=True, text=True)
  lines = done.stdout.splitlines()
  file, height = lines[-2].split()
  assert file.startswith(fresh_mujoco_py['PYTHONPATH'])
  # Free fall for 1 s by semi-implicit Euler: -g dt^2 n (n + 1) / 2.
  np.testing.assert_allclose(float(height), -9.81 * 1e-4 * 5050, rtol=1e-6)
  assert lines[-1] == 'Failed to initialize OpenGL'


def test_building_again_does_nothing():
  d4rl_build.build()
  before = d4rl_build.extension_path().stat()
  assert not d4rl_build.build()
  assert d4rl_build.extension_path().stat().st_mtime_ns == before.st_mtime_ns
