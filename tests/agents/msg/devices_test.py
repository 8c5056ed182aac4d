"""All variants give the same numbers on 1 to 8 devices (docs/msg.md 9).

Two processes with eight forced CPU devices each run this file as a program and
share the cases; the tests check their results.
"""

import functools
import os
import pathlib
import pickle
import subprocess
import sys
from typing import NamedTuple

from acme.utils import loggers
from acme_msg import networks
from acme_msg.agents import bc
from acme_msg.agents.msg import config_checks
import jax
import numpy as np
import pytest
import tiny

_TREE = dict(tiny.TREE, tree_depth=3)

# All variants, and all losses that need collectives: each target method over
# members and over the batch. A tree's levels of 2, 4 and 8 nodes are replicated
# on more devices than nodes.
_CASES = {
    'deep': dict(),
    'double_q_cql_sass_shared_mean': dict(
        use_double_q=True, behavior_regularization_type='cql', use_sass=True,
        num_q_repr_pretrain_iters=1, num_bc_iters=1,
        td_target_method='shared_mean'),
    'rem': dict(rem_mode=True),
    'tree_sass_shared_lcb': dict(
        _TREE, use_sass=True, td_target_method='shared_lcb', std_ddof=1),
    'mimo_cql': dict(tiny.MIMO, behavior_regularization_type='cql'),
    'mimo_half_tiled_shared_mean': dict(
        ensemble_method='mimo', mimo_using_obs_tile=True,
        td_target_method='shared_mean'),
    'multi_head_sass_shared_lcb': dict(
        tiny.MULTI_HEAD, use_sass=True, behavior_regularization_type='v2',
        td_target_method='shared_lcb'),
    'multi_head_shared_min': dict(
        tiny.MULTI_HEAD, td_target_method='shared_min'),
    'batch_ensemble': dict(tiny.BATCH_ENSEMBLE, use_double_q=True),
    'batch_ensemble_unsplit_shared_min': dict(
        tiny.BATCH_ENSEMBLE, batch_split=False, td_target_method='shared_min'),
}
_NUM_UPDATES = 50
# Compilation is most of the work.
_NUM_PROCESSES = 2


class _Run(NamedTuple):
  """How a case is run."""
  num_devices: int
  parallel_map: str = 'pmap'
  resident_data: str = 'replicated'


_ONE = _Run(1)
_MANY = (_Run(2, 'shard_map'), _Run(4, 'pmap', 'sharded'), _Run(8))
# Ways to run on four devices that must give the same bits.
_EXACT = (_Run(4), _Run(4, 'shard_map'), _Run(4, 'shard_map', 'sharded'))
_RUNS = {name: (_Run(8),) if name in (
    'double_q_cql_sass_shared_mean', 'rem', 'mimo_half_tiled_shared_mean',
    'multi_head_shared_min', 'batch_ensemble_unsplit_shared_min') else _MANY
         for name in _CASES}
_RUNS['deep'] = _MANY + _EXACT
_PAIRS = [(name, run) for name, runs in _RUNS.items() for run in runs]


def _make_config(name, run=_ONE, **options):
  """One gradient step per call; the first two clone."""
  return tiny.make_config(**{**dict(
      ensemble_size=8, num_bc_iters=2, parallel_map=run.parallel_map,
      resident_data=run.resident_data), **_CASES[name], **options})


def _run_case(name):
  """States and metrics of each run, after 1, 48 and 50 updates."""
  results, programs = {}, {}
  for run in (_ONE, *_RUNS[name]):
    program = tiny.make_program(
        _make_config(name, run), devices=jax.local_devices()[:run.num_devices])
    data = program.put_dataset(tiny.make_data())
    states, averages = [program.state], []
    for update in range(1, _NUM_UPDATES + 1):
      metrics = program.run_resident(data)
      if update in (1, _NUM_UPDATES - 2, _NUM_UPDATES):
        averages.append(jax.device_get(metrics))
        program.assert_replicated()
        states.append(program.state)
    # A plain tuple, because the tests unpickle it under another module name.
    results[tuple(run)] = dict(states=states, averages=averages)
    programs[run] = program, data

  # Each run resumes from a state of the last run.
  saved = states[-2]
  for run, (program, data) in programs.items():
    program.state = saved
    with jax.transfer_guard('disallow'):
      for _ in range(2):
        program.run_resident(data)
    program.assert_replicated()
    results[run].update(resumed=program.state, num_traces=program.num_traces)
    program.state = saved._replace(critic_params=jax.tree.map(
        lambda x: np.where(np.arange(len(x)) == len(x) - 3, np.nan, x.T).T,
        saved.critic_params))
    results[run]['error'] = str(
        program.explain(program.run_resident(data), 'other options'))
  return results


def _run_batches():
  """States after minibatches of 13 rows, which 8 does not divide."""
  states = {}
  for run in (_ONE, _Run(8), _Run(8, 'shard_map')):
    program = tiny.make_program(
        _make_config('deep', run, batch_size=13, num_sgd_steps_per_step=2,
                     num_bc_iters=0),
        devices=jax.local_devices()[:run.num_devices])
    for seed in range(2):
      program.run_batches(tiny.make_data(26, seed))
    states[tuple(run)] = program.state
  return states


def _run_cloning(loss):
  """States of behaviour cloning on one device and on eight."""
  states = {}
  for num_devices in (1, 8):
    learner = bc.BCLearner(
        networks.make_policy(tiny.OBSERVATION_SIZE, tiny.ACTION_SIZE, (6,)),
        bc.BCConfig(loss=loss, policy_lr=1e-3, batch_size=16,
                    num_sgd_steps_per_step=4),
        jax.random.PRNGKey(0), tiny.make_data(), logger=loggers.NoOpLogger(),
        devices=jax.local_devices()[:num_devices])
    learner.step()
    with jax.transfer_guard('disallow'):
      learner.step()
    assert learner.num_traces == 1
    states[num_devices] = learner.save()
  return states


def _main(path, process):
  assert len(jax.local_devices()) == 8
  work = {
      **{name: functools.partial(_run_case, name) for name in _RUNS},
      'batches': _run_batches,
      'cloning': lambda: {loss: _run_cloning(loss) for loss in ('mle', 'mse')}}
  own = list(work)[int(process)::_NUM_PROCESSES]
  with open(path, 'wb') as f:
    pickle.dump({name: work[name]() for name in own}, f)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  directory = tmp_path_factory.mktemp('devices')
  env = {**os.environ,
         'PYTHONPATH': os.pathsep.join([
             str(pathlib.Path(tiny.__file__).parent),
             os.environ.get('PYTHONPATH', '')]),
         # Splitting code for parallel compilation costs more than it saves.
         'XLA_FLAGS': '--xla_force_host_platform_device_count=8 '
                      '--xla_cpu_parallel_codegen_split_count=1',
         'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
         'JAX_PLATFORMS': 'cpu'}
  paths = [str(directory / f'{i}.pickle') for i in range(_NUM_PROCESSES)]
  processes = [
      subprocess.Popen(
          [sys.executable, __file__, path, str(i)], env=env, text=True,
          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
      for i, path in enumerate(paths)]
  printed = [process.communicate()[0] for process in processes]
  found = {}
  for process, output, path in zip(processes, printed, paths):
    assert process.returncode == 0, output[-5000:]
    with open(path, 'rb') as f:
      found.update(pickle.load(f))
  return found


def _assert_close(tree, other):
  # Sums over devices are rounded in another order. Adam's steps are at least
  # 1e-3 here, a thousand times the tolerance.
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
      tree, other)


@pytest.mark.parametrize('name, run', _PAIRS)
def test_equals_one_device(results, name, run):
  one, many = results[name][_ONE], results[name][run]
  jax.tree.map(np.testing.assert_array_equal, one['states'][0],
               many['states'][0])
  for ours, theirs in zip(many['states'], one['states'], strict=True):
    np.testing.assert_array_equal(ours.key, theirs.key)
    _assert_close(ours, theirs)
  assert [state.steps for state in many['states']] == [
      0, 1, _NUM_UPDATES - 2, _NUM_UPDATES]


@pytest.mark.parametrize('name, run', _PAIRS)
def test_metrics_equal_those_of_one_device(results, name, run):
  one, many = results[name][_ONE], results[name][run]
  for ours, theirs in zip(many['averages'], one['averages'], strict=True):
    assert ours.names == theirs.names and ours.is_good and theirs.is_good
    np.testing.assert_allclose(ours.totals, theirs.totals, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.weights, theirs.weights)


@pytest.mark.parametrize('name', _RUNS)
def test_divergence_is_described_alike(results, name):
  step = _NUM_UPDATES - 2 + 1
  [error] = {run['error'] for run in results[name].values()}
  assert error.startswith(
      f'Training diverged in gradient step {step}: critic_loss of ')
  if name == 'deep':
    assert 'of member 5 of 8 is NaN' in error


@pytest.mark.parametrize('run', _MANY)
def test_independent_critics_are_the_same_bits(results, run):
  # The critics' step has no collective. While the policy clones, its step has
  # none that sums over members either.
  one, many = results['deep'][_ONE], results['deep'][run]
  jax.tree.map(np.testing.assert_array_equal, many['states'][1],
               one['states'][1])


@pytest.mark.parametrize('run', _EXACT)
def test_maps_and_places_of_data_give_the_same_bits(results, run):
  runs = results['deep']
  jax.tree.map(np.testing.assert_array_equal, runs[run]['states'],
               runs[_Run(4, 'pmap', 'sharded')]['states'])


@pytest.mark.parametrize('name', _RUNS)
def test_resumes_on_any_number_of_devices(results, name):
  runs = results[name]
  last = _RUNS[name][-1]
  expected = runs[last]['states'][-1]
  for run, found in runs.items():
    assert found['num_traces'] == 1
    if run == last:
      jax.tree.map(np.testing.assert_array_equal, found['resumed'], expected)
    else:
      _assert_close(found['resumed'], expected)


def test_batches_equal_those_of_one_device(results):
  states = results['batches']
  assert states[_ONE].steps == 4
  _assert_close(states[_Run(8)], states[_ONE])
  jax.tree.map(np.testing.assert_array_equal, states[_Run(8)],
               states[_Run(8, 'shard_map')])


@pytest.mark.parametrize('loss', ['mle', 'mse'])
def test_cloning_equals_one_device(results, loss):
  states = results['cloning'][loss]
  assert states[8].steps == 8
  _assert_close(states[8], states[1])


def test_runs_cover_all_target_methods_over_members_and_batch():
  methods = {'members': set(), 'batch': set()}
  for name in _RUNS:
    config = _make_config(name)
    shard_over = tiny.make_networks(config).critic.shard_over
    methods[shard_over].add(config.td_target_method)
  for found in methods.values():
    assert found == set(config_checks.TD_TARGET_METHODS)


if __name__ == '__main__':
  _main(*sys.argv[1:])
