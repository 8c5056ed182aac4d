"""Tests of metrics averaged over steps and devices."""

import functools

from acme_msg.agents import metrics
from acme_msg.agents import sharding
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_S, _N, _B = 5, 4, 6
_WEIGHTS = {'loss': np.float32([1, 1, 1, 1, 1]),
            'q': np.float32([0, 0, 1, 1, 1]),
            'q_mean': np.float32([0, 0, 1, 1, 1]),
            'alpha': np.float32([0, 1, 0, 0, 2]),
            'nothing': np.zeros(_S, np.float32)}


def _steps(seed=0):
  """Metrics of all members and rows."""
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return metrics.StepMetrics(
      members={'loss': draw(_S, _N)},
      ranked={'q': draw(_S, _N)},
      rows={'q_mean': draw(_S, _B)},
      scalars={'alpha': draw(_S), 'nothing': draw(_S)},
      weights=_WEIGHTS)


def _expected(steps):
  expected = {}
  for name, values in {**steps.members, **steps.rows}.items():
    for key, fn in (('avg', np.mean), ('std', np.std), ('max', np.max),
                    ('min', np.min)):
      by_step = [fn(values[i].astype(np.float64)) for i in range(_S)]
      expected[f'{name}/{key}'] = np.average(
          by_step, weights=_WEIGHTS[name])
  expected['alpha'] = np.average(
      steps.scalars['alpha'], weights=_WEIGHTS['alpha'])
  expected['argmax_q'] = np.argmax(steps.ranked['q'][-1])
  expected['argmin_q'] = np.argmin(steps.ranked['q'][-1])
  return expected


def _split(x, num_devices):
  """`[S, X] -> [D, S, X/D]`."""
  return np.stack(np.split(x, num_devices, axis=1))


@pytest.mark.parametrize('shard_over, num_devices', [
    ('members', 1), ('members', 2), ('batch', 1), ('batch', 2)])
def test_averages_over_the_steps_that_measured(shard_over, num_devices):
  """Two emulated devices give the averages of one."""
  steps = _steps()
  if shard_over == 'members':
    members, ranked = jax.tree.map(
        lambda x: _split(x, num_devices), (steps.members, steps.ranked))
    tile = lambda x: np.stack([x] * num_devices)
    rows, scalars = jax.tree.map(tile, (steps.rows, steps.scalars))
  else:
    # Members and scalars are means over the rows of a device.
    noise = np.linspace(-1, 1, num_devices) if num_devices > 1 else [0.]
    part = lambda x: np.stack([x + np.float32(e) for e in noise])
    members, ranked, scalars = jax.tree.map(
        part, (steps.members, steps.ranked, steps.scalars))
    rows = {name: _split(x, num_devices) for name, x in steps.rows.items()}
  weights = jax.tree.map(
      lambda x: np.stack([x] * num_devices), steps.weights)
  shard = sharding.Shard(num_devices, _N, shard_over)
  averages = jax.jit(jax.vmap(
      functools.partial(metrics.average, shard=shard),
      axis_name=sharding.AXIS))(
          metrics.StepMetrics(members, ranked, rows, scalars, weights))
  expected = _expected(steps)
  for device in range(num_devices):
    found = metrics.to_host(jax.tree.map(lambda x: x[device], averages))
    assert found.keys() == expected.keys()  # 'nothing' was not measured.
    assert all(type(value) is float for value in found.values())
    for name, value in expected.items():
      np.testing.assert_allclose(
          found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_members_are_ranked_only_where_the_last_step_measured_them():
  steps = _steps()
  weights = dict(_WEIGHTS, q=np.float32([1, 1, 1, 1, 0]))
  found = metrics.to_host(metrics.average(
      steps._replace(weights=weights), sharding.Shard(1, _N, 'members')))
  assert 'argmax_q' not in found and 'argmin_q' not in found


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 2e18])
@pytest.mark.parametrize('name, row, column, members', [
    ('loss', 3, 1, {'loss': [1]}), ('q', 4, 2, {'q': [2]}),
    ('q_mean', 2, 5, {}), ('alpha', 1, None, {})])
def test_first_bad_step_is_found(name, row, column, members, value):
  steps = _steps()
  for kind in steps[:4]:
    if name in kind:
      kind[name][row:, ... if column is None else column] = value
  found = jax.device_get(metrics.average(
      steps, sharding.Shard(1, _N, 'members'), {'x': np.zeros(3)}))
  assert not found.is_good
  assert dict(zip(found.sources, found.first_bad)) == {
      **dict.fromkeys(('loss', 'q', 'q_mean', 'alpha', 'nothing'), _S),
      name: row}
  for other, bad in found.bad_members.items():
    assert list(np.nonzero(bad)[0]) == members.get(other, [])


def test_steps_that_do_not_measure_a_metric_cannot_be_bad():
  steps = _steps()
  steps.scalars['nothing'][:] = np.nan
  steps.ranked['q'][:2] = np.nan
  shard = sharding.Shard(1, _N, 'members')
  good, bad = np.ones(2), np.float32([1, np.inf])
  assert metrics.average(steps, shard, {'x': good, 'i': np.int32(3)}).is_good
  assert not metrics.average(steps, shard, {'x': good, 'y': bad}).is_good


def test_step_metrics_share_a_weight_and_merge():
  one = metrics.step_metrics(2., {'a': 1}, {'b': 2}, {'c': 3}, {'q': 5})
  assert one.weights == {'a': 2., 'b': 2., 'c': 2., 'q': 2.}
  other = metrics.step_metrics(True, scalars={'d': 4})
  assert other.weights['d'].dtype == jnp.float32
  both = metrics.merge(one, other)
  assert both == ({'a': 1}, {'q': 5}, {'b': 2}, {'c': 3, 'd': 4},
                  {'a': 2., 'b': 2., 'c': 2., 'q': 2., 'd': 1.})


def test_either_gives_the_other_steps_metrics_no_weight():
  def double(x, y):
    return x * 2, metrics.step_metrics(1., {'member': jnp.ones(3) * y})

  def halve(x, y):
    del y
    return x / 2, metrics.step_metrics(3., scalars={'scalar': x})

  run = jax.jit(lambda flag, x, y: metrics.either(flag, double, halve, x, y))

  def check(flag, state, members, scalar, weights):
    found_state, found = run(flag, np.float32(8.), np.float32(5.))
    assert found_state == state
    np.testing.assert_array_equal(found.members['member'], members)
    assert found.scalars == {'scalar': scalar} and not found.rows
    assert found.weights == weights

  check(True, 16., [5., 5., 5.], 0., {'member': 1., 'scalar': 0.})
  check(False, 4., [0., 0., 0.], 8., {'member': 0., 'scalar': 3.})
