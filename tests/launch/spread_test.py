"""Tests that two hosts of four devices equal one host of eight.

As a program this file is one of the hosts: `python spread_test.py <folder>
<index> <port>`, or the only one: `python spread_test.py <folder>`.
"""

import os
import pathlib
import pickle
import subprocess
import sys

from acme import specs
from acme import types
from acme.utils import counting
from acme.utils import loggers
from acme_msg import builders
from acme_msg.agents import msg
from acme_msg.launch import checkpointing
from acme_msg.launch import hosts
import jax
import maze
import numpy as np
import portpicker
import pytest

_SPEC = specs.EnvironmentSpec(
    observations=specs.Array((3,), np.float32),
    actions=specs.BoundedArray((2,), np.float32, -1., 1.),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0., 1.))
# Members or rows are divided; data is resident, in parts, or streamed.
_CASES = {
    'resident': dict(),
    'parts': dict(parallel_map='shard_map', resident_data='sharded'),
    'streamed': dict(),
    'streamed_rows': dict(
        ensemble_method='multi_head', parallel_map='shard_map'),
}
_NUM_STEPS = 3


def _make_data(size, seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return types.Transition(draw(size, 3), np.tanh(draw(size, 2)), draw(size),
                          np.ones(size, np.float32), draw(size, 3))


def _batches(config, group):
  """Yields this host's rows of S * B transitions."""
  steps, size = config.num_sgd_steps_per_step, config.batch_size
  own = slice(group.index * size // group.count,
              (group.index + 1) * size // group.count)
  for seed in range(_NUM_STEPS):
    yield jax.tree.map(
        lambda x: x.reshape((steps, size) + x.shape[1:])[:, own].reshape(
            (-1,) + x.shape[1:]), _make_data(steps * size, seed))


def _make_learner(config, data, seed=0, devices=None):
  return msg.MSGLearner(
      builders.make_msg_networks(_SPEC, config), config,
      jax.random.PRNGKey(seed), data, logger=loggers.NoOpLogger(),
      devices=devices)


def _make_large_learner(seed, devices=None):
  """64 members, before their first step."""
  return _make_learner(
      maze.make_config(ensemble_size=64), _make_data(4), seed, devices)


def _run_case(name, group):
  config = maze.make_config(num_bc_iters=2, **_CASES[name])
  learner = _make_learner(
      config, _batches(config, group) if 'streamed' in name
      else _make_data(50))
  states = [learner.save()]
  for _ in range(_NUM_STEPS):
    learner.step()
    states.append(learner.save())
  return dict(states=states, num_traces=learner.num_traces,
              critic=learner.get_variables(['critic'])[0])


def _resumed(folder, **kwargs):
  """Returns the step and the state that a learner of another seed restores."""
  learner = _make_large_learner(seed=7, **kwargs)
  step = checkpointing.CheckpointManager(str(folder)).restore(
      learner, counting.Counter())
  return step, learner.save()


def _save(folder, step, learner):
  manager = checkpointing.CheckpointManager(str(folder))
  manager.save(step, learner, counting.Counter())
  manager.close()


def _drift(group):
  """Returns the error if one host's policy differs from the other's."""
  learner = _make_large_learner(seed=0)
  state = jax.tree.map(np.array, learner.save())
  if group.index == 1:
    state.policy_params['loc']['b'][0] += 1e-6
  learner.restore(state)
  with pytest.raises(AssertionError) as error:
    learner.global_state()
  return str(error.value)


def _main(folder, *place):
  folder = pathlib.Path(folder)
  group = hosts.Hosts()
  if place:
    index, port = place
    group = hosts.join(f'localhost:{port}', 2, int(index))
  with group:
    assert jax.device_count() == 8
    results = {name: _run_case(name, group) for name in _CASES}
    if place:
      results['resumed'] = _resumed(folder / 'one')
      learner = _make_large_learner(seed=2)
      results['saved'] = learner.save()
      _save(folder / 'two', 4, learner)
      results['drift'] = _drift(group)
    else:
      results['resumed'] = {
          count: _resumed(folder / 'two', devices=jax.devices()[:count])
          for count in (1, 4, 8)}
  path = folder / f'{place[0] if place else "single"}.pickle'
  path.write_bytes(pickle.dumps(results))


def _start(folder, num_devices, *place):
  return subprocess.Popen(
      [sys.executable, __file__, str(folder), *map(str, place)],
      env={**os.environ, 'JAX_PLATFORMS': 'cpu',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
           'XLA_FLAGS':
               f'--xla_force_host_platform_device_count={num_devices}'},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(*processes):
  for process in processes:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-5000:]


@pytest.fixture(name='folder', scope='module')
def _folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('spread')
  _save(folder / 'one', 3, _make_large_learner(seed=1))
  port = portpicker.pick_unused_port()
  _finish(*[_start(folder, 4, index, port) for index in range(2)])
  _finish(_start(folder, 8))
  return folder


@pytest.fixture(name='results', scope='module')
def _results(folder):
  return {name: pickle.loads((folder / f'{name}.pickle').read_bytes())
          for name in ('0', '1', 'single')}


def _assert_equal(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize('name', _CASES)
def test_two_hosts_equal_one(results, name):
  first, second, single = (
      results[host][name] for host in ('0', '1', 'single'))
  _assert_equal(first, second)
  assert first['num_traces'] == 1
  _assert_equal(first['states'][0], single['states'][0])
  for ours, theirs in zip(first['states'], single['states'], strict=True):
    np.testing.assert_array_equal(ours.key, theirs.key)
    # The tolerance of tests/agents/msg/devices_test.py.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(
        x, y, rtol=1e-5, atol=1e-6), ours, theirs)
  assert ours.steps == 2 * _NUM_STEPS
  _assert_equal(first['critic'], first['states'][-1].critic_params)


@pytest.mark.parametrize('count', [1, 4, 8])
def test_devices_of_one_host_take_up_what_two_saved(results, count):
  step, state = results['single']['resumed'][count]
  assert step == 4
  assert state.critic_params[0]['q']['w'].shape[0] == 64
  _assert_equal(state, results['0']['saved'])


def test_two_hosts_take_up_what_one_device_saved(results):
  for host in '01':
    step, state = results[host]['resumed']
    assert step == 3
    _assert_equal(state, _make_large_learner(seed=1).save())


def test_policies_of_hosts_without_learners_are_read(results, folder):
  saved = results['0']['saved'].policy_params
  like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
  found = checkpointing.restore_variables(
      str(folder / 'two'), {'policy_params': like})
  _assert_equal(found['policy_params'], saved)


def test_hosts_that_drift_apart_are_named(results):
  for host in '01':
    assert results[host]['drift'] == (
        ".policy_params['loc']['b'] should be the same on all hosts, but host "
        '1 differs from host 0.')


if __name__ == '__main__':
  _main(*sys.argv[1:])
