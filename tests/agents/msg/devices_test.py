"""Every variant on 1 to 8 devices: the same numbers as on one.

A process with eight forced CPU devices (this file as a program) runs all cases;
the tests look at what it found.
"""

import os
import pathlib
import pickle
import subprocess
import sys

from acme.utils import loggers
from acme_msg import networks
from acme_msg.agents import bc
from acme_msg.agents.msg import validation
import jax
import numpy as np
import pytest
import tiny

_TREE = dict(tiny.TREE, tree_depth=3)

# Between them: all variants, target methods, and losses with collectives of
# their own. Trees of 2, 4 and 8 nodes replicate their upper levels on more
# devices than nodes.
_CASES = {
    'deep': (dict(), (1, 2, 4, 8)),
    'double_q_cql_sass': (dict(
        use_double_q=True, behavior_regularization_type='cql', use_sass=True,
        num_q_repr_pretrain_iters=1, num_bc_iters=1), (1, 8)),
    'rem': (dict(rem_mode=True), (1, 8)),
    'tree_sass_shared_lcb': (dict(
        _TREE, use_sass=True, td_target_method='shared_lcb', std_ddof=1),
                             (1, 2, 8)),
    'mimo_cql': (dict(tiny.MIMO, behavior_regularization_type='cql'),
                 (1, 2, 8)),
    'mimo_half_tiled_shared_mean': (dict(
        ensemble_method='mimo', mimo_using_obs_tile=True,
        td_target_method='shared_mean'), (1, 8)),
    'multi_head_sass': (dict(
        tiny.MULTI_HEAD, use_sass=True, behavior_regularization_type='v2'),
                        (1, 8)),
    'batch_ensemble': (dict(tiny.BATCH_ENSEMBLE, use_double_q=True), (1, 8)),
    'batch_ensemble_unsplit_shared_min': (dict(
        tiny.BATCH_ENSEMBLE, batch_split=False,
        td_target_method='shared_min'), (1, 8)),
}
_NUM_CALLS = 3


def _make_config(name):
  """Two gradient steps per call; the first call ends with cloning."""
  return tiny.make_config(**{**dict(
      ensemble_size=8, num_sgd_steps_per_step=2, num_bc_iters=2),
                             **_CASES[name][0]})


def _run_case(name):
  """What each number of devices gives: states and metrics of each call."""
  results, programs = {}, {}
  for num_devices in _CASES[name][1]:
    program = tiny.make_program(
        _make_config(name), devices=jax.local_devices()[:num_devices])
    data = program.put_dataset(tiny.make_data())
    states, averages = [program.state], []
    for _ in range(_NUM_CALLS):
      averages.append(jax.device_get(program.run_resident(data)))
      program.assert_replicated()
      states.append(program.state)
    results[num_devices] = dict(states=states, averages=averages)
    programs[num_devices] = program, data

  # On each number of devices, go on from where the most devices were in the
  # middle of the run.
  saved = states[-2]
  for num_devices, (program, data) in programs.items():
    program.state = saved
    with jax.transfer_guard('disallow'):
      program.run_resident(data)
    program.assert_replicated()
    results[num_devices].update(
        resumed=program.state, num_traces=program.num_traces)
  return results


def _run_cloning(loss):
  """Behaviour cloning's states on one device and on eight."""
  states = {}
  for num_devices in (1, 8):
    learner = bc.BCLearner(
        networks.make_policy(tiny.OBSERVATION_SIZE, tiny.ACTION_SIZE, (6,)),
        bc.BCConfig(loss=loss, policy_lr=1e-3, batch_size=16,
                    num_sgd_steps_per_step=4),
        jax.random.PRNGKey(0), tiny.make_data(), logger=loggers.NoOpLogger(),
        devices=jax.local_devices()[:num_devices])
    learner.step()
    states[num_devices] = learner.save()
  return states


def _main(path):
  assert len(jax.local_devices()) == 8
  results = {name: _run_case(name) for name in _CASES}
  results['cloning'] = {loss: _run_cloning(loss) for loss in ('mle', 'mse')}
  with open(path, 'wb') as f:
    pickle.dump(results, f)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  path = tmp_path_factory.mktemp('devices') / 'results.pickle'
  process = subprocess.run(
      [sys.executable, __file__, str(path)],
      env={**os.environ,
           'PYTHONPATH': str(pathlib.Path(tiny.__file__).parent),
           'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
           'JAX_PLATFORMS': 'cpu'},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  assert process.returncode == 0, process.stdout[-5000:]
  with open(path, 'rb') as f:
    return pickle.load(f)


_RUNS = [(name, num_devices) for name, (_, devices) in _CASES.items()
         for num_devices in devices if num_devices > 1]


def _assert_close(tree, other):
  # Sums over devices round in another order. Adam's steps are 1e-3 here, so
  # this is a thousandth of one.
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
      tree, other)


@pytest.mark.parametrize('name, num_devices', _RUNS)
def test_equals_one_device(results, name, num_devices):
  one, many = results[name][1], results[name][num_devices]
  jax.tree.map(np.testing.assert_array_equal, one['states'][0],
               many['states'][0])
  for ours, theirs in zip(many['states'], one['states'], strict=True):
    np.testing.assert_array_equal(ours.key, theirs.key)
    _assert_close(ours, theirs)
  assert many['states'][-1].steps == 2 * _NUM_CALLS


@pytest.mark.parametrize('name, num_devices', _RUNS)
def test_metrics_equal_those_of_one_device(results, name, num_devices):
  one, many = results[name][1], results[name][num_devices]
  for ours, theirs in zip(many['averages'], one['averages'], strict=True):
    assert set(ours) == set(theirs)
    for key in ours:
      np.testing.assert_allclose(
          ours[key]['total'], theirs[key]['total'], rtol=1e-4, atol=1e-5,
          err_msg=key)
      assert ours[key]['weight'] == theirs[key]['weight']


@pytest.mark.parametrize('num_devices', [2, 4, 8])
def test_independent_critics_are_the_same_bits(results, num_devices):
  # Without a collective in their step, and while the policy clones (in the
  # policy's own steps the members' gradients are summed over devices).
  one, many = results['deep'][1], results['deep'][num_devices]
  jax.tree.map(np.testing.assert_array_equal, many['states'][1],
               one['states'][1])


@pytest.mark.parametrize('name', _CASES)
def test_goes_on_on_any_number_of_devices(results, name):
  runs = results[name]
  expected = runs[max(runs)]['states'][-1]
  for num_devices, run in runs.items():
    assert run['num_traces'] == 1
    if num_devices == max(runs):
      jax.tree.map(np.testing.assert_array_equal, run['resumed'], expected)
    else:
      _assert_close(run['resumed'], expected)


@pytest.mark.parametrize('loss', ['mle', 'mse'])
def test_cloning_equals_one_device(results, loss):
  states = results['cloning'][loss]
  assert states[8].steps == 4
  _assert_close(states[8], states[1])


def test_cases_cover_all_target_methods():
  methods = {_make_config(name).td_target_method for name in _CASES}
  assert methods == set(validation.TD_TARGET_METHODS)


if __name__ == '__main__':
  _main(sys.argv[1])
