"""Tests of the division of critics over devices, and of the collectives.

A process with eight forced CPU devices runs this file as a program with both
parallel maps; the tests compare its results with NumPy on undivided arrays.
"""

import os
import pathlib
import pickle
import subprocess
import sys

from acme_msg import networks
from acme_msg.agents import parallel
from acme_msg.agents import sharding
from acme_msg.agents.msg import losses
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_RUNS = [('pmap', 1), ('pmap', 2), ('pmap', 4), ('pmap', 8),
         ('shard_map', 1), ('shard_map', 4)]
_N, _B, _A, _S, _F, _BETA = 8, 16, 3, 2, 8, -4.
_METHODS = ('independent', 'shared_mean', 'shared_min', 'shared_lcb')


def _inputs():
  """Undivided arrays, the same in both processes."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  # Members 1 and 6 have the smallest value of the first sample, and all members
  # that of the second.
  tied = draw(_N, _B)
  tied[[1, 6], 0] = -5.
  tied[:, 1] = -200.3
  return dict(
      slopes=draw(_N, _A), action=draw(_B, _A), tied=tied,
      weights=draw(_N, _B), member_metrics=draw(_S, _N),
      row_metrics=draw(_S, _B), features=np.abs(draw(2 * _B, _F)),
      gradient=draw(_N, _B))


def _critic(slopes, action):
  """Values `[n, B]` that are not linear in the action."""
  return jnp.sum(jnp.sin(slopes[:, None] * action), axis=-1)


def _objectives(shard, slopes, action):
  """Shared targets and gradients of the policy's objective, by method."""
  results = {}
  for method in _METHODS:
    def objective(action, method=method):
      q = _critic(slopes, shard.shared_by_members(action))
      value = losses.policy_objective(
          q, losses.ensemble_moments(q, shard), method, _BETA, shard)
      return jnp.mean(value), losses.shared_td_target(
          q, method, _BETA, 1, shard)
    results[method] = jax.grad(objective, has_aux=True)(action)
  return results


def _over_members(shard, x):
  """One device's part of a loss that needs all members."""
  slopes, tied, weights = map(
      shard.local_members, (x['slopes'], x['tied'], x['weights']))
  results = {'first_member': jnp.asarray(shard.first_member)}

  for ddof in (0, 1):
    def bound(action, values):
      q = values + _critic(slopes, shard.shared_by_members(action))
      moments = losses.ensemble_moments(q, shard, ddof)
      value = losses.lower_confidence_bound(moments, _BETA)
      return jnp.mean(value), (value, *moments)
    gradients, results[f'bound_{ddof}'] = jax.grad(
        bound, argnums=(0, 1), has_aux=True)(
            x['action'], jnp.zeros_like(weights))
    results[f'bound_action_{ddof}'], results[f'bound_q_{ddof}'] = gradients

  results['agree'] = jax.grad(lambda q: jnp.sum(
      losses.lower_confidence_bound(
          losses.ensemble_moments(q, shard), _BETA)))(
              jnp.full_like(tied, -200.3))
  results['min_q'], results['min'] = jax.grad(lambda q: (lambda least: (
      jnp.sum(least), least))(shard.min_over_members(q)), has_aux=True)(tied)
  results['mean'] = shard.mean_over_members(tied)

  size = _F // shard.num_devices
  first = shard.first_member * _F // _N
  features = jax.lax.dynamic_slice_in_dim(x['features'], first, size, axis=1)
  results['sass_features'], results['sass'] = jax.grad(
      lambda f: (lambda c: (c.loss, c))(losses.nt_xent(
          f[:_B], f[_B:], 1., shard)), has_aux=True)(features)

  own, common = shard.local_members(x['gradient']), x['gradient'][0]
  results['reduced'] = shard.reduce_gradient(
      {'own': own, 'common': common * (1. + shard.first_member)},
      {'own': True, 'common': False})
  results['metrics'] = shard.all_members(
      x['member_metrics'].reshape(_S, shard.num_devices, -1)[
          :, shard.first_member // shard.num_local_members])
  results['rows'] = shard.local_rows(x['row_metrics'], axis=1)
  results['objectives'] = _objectives(shard, slopes, x['action'])
  return results


def _over_batch(shard, x):
  """One device's part of a loss that is a mean over all rows."""
  action = shard.local_rows(x['action'])
  rows = shard.local_rows(x['row_metrics'], axis=1)
  gradient = jax.grad(lambda slopes: jnp.mean(
      _critic(slopes, action)))(x['slopes'])
  return {
      'gradient': shard.reduce_gradient(
          gradient, jax.tree.map(lambda _: True, gradient)),
      'mean': shard.mean_over_batch(jnp.mean(rows, axis=1)),
      'rows': shard.all_rows(rows),
      'members': shard.local_members(x['slopes']),
      'min': shard.min_over_members(x['tied']),
      'sum': shard.sum_over_members(x['tied']),
      'objectives': _objectives(shard, x['slopes'], action),
      'metrics': shard.all_members(jnp.mean(rows) + x['member_metrics'])}


def _try_replicated(devices, tree):
  try:
    devices.assert_is_replicated(tree)
  except AssertionError as error:
    return str(error)
  return None


def _run_on_devices(kind, num_devices):
  """Results of one map on a number of devices."""
  devices = parallel.ParallelMap(jax.local_devices()[:num_devices], kind)
  data = devices.replicate(_inputs())
  results = {}
  for shard_over, program in (
      ('members', _over_members), ('batch', _over_batch)):
    shard = sharding.Shard(num_devices, _N, shard_over)
    results[shard_over], results['num_devices'] = devices.compile(
        lambda x, program=program, shard=shard: (
            program(shard, x), jax.lax.psum(1, sharding.AXIS)))(data)

  tree = {'split': np.arange(24.).reshape(8, 3),
          'same': [np.arange(5), np.float32(2.)]}
  is_split = {'split': True, 'same': [False, False]}
  parts = devices.split(tree, is_split)
  results['parts'] = parts
  results['whole'] = devices.gather(parts, is_split)
  arrays = devices.global_arrays(parts, is_split)
  results['spread'] = len(arrays['split'].sharding.device_set)
  results['arrays'] = arrays
  results['again'] = devices.split(arrays, is_split)
  results['replicated'] = _try_replicated(devices, parts['same'])
  results['nan_replicated'] = _try_replicated(
      devices, devices.replicate({'a': np.full(2, np.nan)}))
  results['different'] = _try_replicated(
      devices, {'policy': {'same': parts['same'], 'w': parts['split']}})
  return jax.device_get(results)


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  """Results of each map on each number of devices."""
  path = tmp_path_factory.mktemp('sharding') / 'found.pickle'
  subprocess.run(
      [sys.executable, __file__, str(path)], check=True, timeout=900,
      env={**os.environ, 'JAX_PLATFORMS': 'cpu',
           'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
           'XLA_FLAGS': '--xla_force_host_platform_device_count=8 '
                        '--xla_cpu_parallel_codegen_split_count=1'})
  return pickle.loads(path.read_bytes())


def _exact():
  return {name: x.astype(np.float64) for name, x in _inputs().items()}


def _join(x):
  """`[D, n, ...] -> [N, ...]`."""
  return x.reshape((-1,) + x.shape[2:])


def _assert_all(x, expected, **tolerance):
  """Asserts that each device has the value."""
  np.testing.assert_allclose(
      x, np.broadcast_to(expected, np.shape(x)), **tolerance)


@pytest.mark.parametrize('ddof', [0, 1])
@pytest.mark.parametrize('run', _RUNS)
def test_lower_confidence_bound_and_its_gradients(found, run, ddof):
  result, x = found[run]['members'], _exact()
  angles = x['slopes'][:, None] * x['action']
  q = np.sin(angles).sum(-1)
  mean, std = q.mean(0), q.std(0, ddof=ddof)
  weights = 1 / _N + _BETA * (q - mean) / ((_N - ddof) * std)
  for value, expected in zip(
      result[f'bound_{ddof}'], (mean + _BETA * std, mean, std)):
    _assert_all(value, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      _join(result[f'bound_q_{ddof}']), weights / _B, rtol=1e-4, atol=1e-6)
  by_action = np.einsum(
      'nb,nba->ba', weights, np.cos(angles) * x['slopes'][:, None]) / _B
  _assert_all(result[f'bound_action_{ddof}'], by_action, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('method', _METHODS)
@pytest.mark.parametrize('run', _RUNS)
def test_shared_targets_and_the_policys_objective(found, run, method):
  x = _exact()
  angles = x['slopes'][:, None] * x['action']
  q = np.sin(angles).sum(-1)
  mean, std = q.mean(0), q.std(0)
  target = {'independent': q, 'shared_mean': mean, 'shared_min': q.min(0),
            'shared_lcb': mean + _BETA * q.std(0, ddof=1)}[method]
  weights = {
      'shared_mean': np.full(q.shape, 1 / _N),
      'shared_min': np.eye(_N)[q.argmin(0)].T,
  }.get(method, 1 / _N + _BETA * (q - mean) / (_N * std))
  gradient = np.einsum(
      'nb,nba->ba', weights, np.cos(angles) * x['slopes'][:, None]) / _B
  found_gradient, found_target = (
      found[run]['members']['objectives'][method])
  _assert_all(found_gradient, gradient, rtol=1e-3, atol=1e-6)
  if method == 'independent':
    found_target = _join(found_target)
  _assert_all(found_target, target, rtol=1e-4, atol=1e-5)

  found_gradient, found_target = found[run]['batch']['objectives'][method]
  # Each device's loss is a mean over its own rows.
  np.testing.assert_allclose(
      _join(found_gradient) / run[1], gradient, rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(
      np.concatenate(found_target, axis=-1), target, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('run', _RUNS)
def test_devices_hold_the_same_bits(found, run):
  """Replicated values must not drift apart."""
  result = found[run]['members']
  for name in ('bound_0', 'bound_action_1', 'min', 'mean', 'sass', 'metrics'):
    for x in jax.tree.leaves(result[name]):
      np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))


@pytest.mark.parametrize('run', _RUNS)
def test_members_that_agree_are_moved_together(found, run):
  gradient = _join(found[run]['members']['agree'])
  np.testing.assert_allclose(gradient, 1 / _N, rtol=1e-2)


@pytest.mark.parametrize('run', _RUNS)
def test_minimum_improves_the_least_members(found, run):
  result, q = found[run]['members'], _inputs()['tied']
  _assert_all(result['min'], q.min(0))
  gradient = _join(result['min_q'])
  assert np.all(gradient >= 0.) and not np.any(gradient[q > q.min(0)])
  np.testing.assert_allclose(gradient.sum(0), 1., rtol=1e-6)
  _assert_all(result['mean'], q.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('run', _RUNS)
def test_contrast_of_divided_features(found, run):
  """Divided features give the loss and the gradient of whole features."""
  result, x = found[run]['members'], _inputs()
  def loss(features):
    return losses.nt_xent(features[:_B], features[_B:], 1.).loss
  value, gradient = jax.value_and_grad(loss)(jnp.asarray(x['features']))
  _assert_all(result['sass'].loss, value, rtol=1e-5)
  np.testing.assert_allclose(
      np.concatenate(result['sass_features'], axis=1), gradient, rtol=1e-3,
      atol=1e-5)


@pytest.mark.parametrize('run', _RUNS)
def test_members_gradients_are_completed(found, run):
  result, x = found[run]['members'], _exact()
  np.testing.assert_allclose(_join(result['reduced']['own']), x['gradient'])
  firsts = np.arange(run[1]) * (_N // run[1])
  np.testing.assert_array_equal(result['first_member'], firsts)
  _assert_all(
      result['reduced']['common'], x['gradient'][0] * np.sum(1. + firsts),
      rtol=1e-5)
  _assert_all(result['metrics'], x['member_metrics'])
  _assert_all(result['rows'], x['row_metrics'])  # Rows are not divided.


@pytest.mark.parametrize('run', _RUNS)
def test_a_divided_batch_gives_the_whole_batchs_means(found, run):
  result, x = found[run]['batch'], _exact()
  slopes = x['slopes'][:, None]
  gradient = np.mean(
      np.cos(slopes * x['action']) * x['action'], axis=1) / _N
  _assert_all(result['gradient'], gradient, rtol=1e-4, atol=1e-6)
  _assert_all(result['mean'], x['row_metrics'].mean(1), rtol=1e-4, atol=1e-6)
  _assert_all(result['rows'], x['row_metrics'])
  _assert_all(result['members'], x['slopes'])  # Members are not divided.
  _assert_all(result['min'], x['tied'].min(0))
  _assert_all(result['sum'], x['tied'].sum(0), rtol=1e-4, atol=1e-5)
  _assert_all(result['metrics'], x['row_metrics'].mean() + x['member_metrics'],
              rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('run', _RUNS)
def test_split_gather_and_replicate_lose_nothing(found, run):
  result, (_, num_devices) = found[run], run
  split = np.arange(24.).reshape(8, 3)
  np.testing.assert_array_equal(
      result['parts']['split'], split.reshape(num_devices, -1, 3))
  jax.tree.map(np.testing.assert_array_equal, result['again'], result['parts'])
  for part, same in zip(result['parts']['same'], (np.arange(5), 2.)):
    assert part.shape[0] == num_devices
    _assert_all(part, same)
  # The arrays from which a checkpoint is written stay on their devices.
  assert result['spread'] == num_devices
  jax.tree.map(
      np.testing.assert_array_equal, result['arrays'], result['whole'])
  assert result['num_devices'] == num_devices
  whole = result['whole']
  np.testing.assert_array_equal(whole['split'], split)
  np.testing.assert_array_equal(whole['same'][0], np.arange(5))
  assert whole['same'][1].shape == () and whole['same'][1] == 2.


@pytest.mark.parametrize('run', _RUNS)
def test_copies_that_differ_are_named(found, run):
  result = found[run]
  assert result['replicated'] is None and result['nan_replicated'] is None
  if run[1] == 1:
    assert result['different'] is None
  else:
    assert "['policy']['w']" in result['different']
    assert 'device 1 differs from device 0' in result['different']


@pytest.mark.parametrize('method, num_devices, message', [
    ('deep_ensembles', 5, r'ensemble_size=12 .* 5 devices.*'
     r'\[1, 2, 3, 4, 6, 12\].*change ensemble_size'),
    ('batch_ensemble', 24, r'ensemble_size=12 .* 24 devices'),
    ('multi_head', 4, r'batch_size=10 .* 4 devices.*\[1, 2, 5, 10\]'
     '.*change batch_size')])
def test_refuses_numbers_of_devices_that_do_not_divide(
    method, num_devices, message):
  critic = networks.make_critic(
      2, 1, ensemble_method=method, ensemble_size=12)
  with pytest.raises(ValueError, match=message):
    sharding.make_shard(critic, 10, num_devices)


def test_make_shard_divides_what_the_critic_says():
  deep, multi_head = (
      networks.make_critic(2, 1, ensemble_method=method, ensemble_size=12)
      for method in ('deep_ensembles', 'multi_head'))
  assert sharding.make_shard(deep, 10, 4) == sharding.Shard(4, 12, 'members')
  assert sharding.make_shard(deep, 10, 4).num_local_members == 3
  shard = sharding.make_shard(multi_head, 10, 5)
  assert shard == sharding.Shard(5, 12, 'batch')
  assert shard.num_local_members == 12
  assert sharding.divide_batch(10, 2) == sharding.Shard(2, 1, 'batch')


if __name__ == '__main__':
  pathlib.Path(sys.argv[1]).write_bytes(
      pickle.dumps({run: _run_on_devices(*run) for run in _RUNS}))
