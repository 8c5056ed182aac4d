"""Tests of the losses with the formulas of docs/msg.md 3 in NumPy."""

from acme_msg.agents import sharding
from acme_msg.agents.msg import losses
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_N, _B, _K, _M, _F = 4, 6, 2, 3, 5


def _normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _shard(num_members=_N):
  return sharding.Shard(1, num_members, 'members')


def _with_gradient(fn, *args):
  """Value of `fn`, and the gradient of its sum by the first argument."""
  def total(*args):
    value = fn(*args)
    return jnp.sum(value), value
  gradient, value = jax.jit(jax.grad(total, has_aux=True))(*args)
  return value, gradient


def test_target_has_neither_entropy_term_nor_gradient():
  next_q = _normal(_N, _B, _K)
  reward, discount = _normal(_B, seed=1), np.float32([1, 0, 1, 1, 0, 1])
  value, gradient = _with_gradient(
      lambda q: losses.td_target(q, reward, discount, .9), next_q)
  for i in range(_N):
    for b in range(_B):
      np.testing.assert_allclose(
          value[i, b], reward[b] + .9 * discount[b] * min(next_q[i, b]),
          rtol=1e-5)
  assert not np.any(gradient)
  # Members that see different rows have different rewards.
  own = losses.td_target(
      next_q, np.tile(reward, (_N, 1)), np.tile(discount, (_N, 1)), .9)
  np.testing.assert_allclose(own, value, rtol=1e-6)


def _shared(values, method, beta, ddof):
  """Shared targets, `[N, B] -> [B]`."""
  values = values.astype(np.float64)
  return {
      'shared_mean': values.mean(0),
      'shared_min': values.min(0),
      'shared_lcb': values.mean(0) + beta * values.std(0, ddof=ddof),
  }[method]


@pytest.mark.parametrize('ddof', [0, 1])
@pytest.mark.parametrize('method', ['shared_mean', 'shared_min', 'shared_lcb'])
def test_shared_targets(method, ddof):
  targets = _normal(_N, _B)
  value, gradient = _with_gradient(
      lambda t: losses.shared_td_target(t, method, -2., ddof, _shard()),
      targets)
  np.testing.assert_allclose(
      value, _shared(targets, method, -2., ddof), rtol=1e-5)
  assert not np.any(gradient)


def test_independent_targets_are_kept():
  targets = _normal(_N, _B)
  assert losses.shared_td_target(
      targets, 'independent', -2., 0, _shard()) is targets


@pytest.mark.parametrize('is_shared', [False, True])
@pytest.mark.parametrize('is_weighted', [False, True])
def test_td_loss_is_a_mean_over_rows_and_heads(is_shared, is_weighted):
  q, targets = _normal(_N, _B, _K), _normal(_N, _B, seed=1)
  targets = targets[0] if is_shared else targets
  weights = np.abs(_normal(_N, _B, _K, seed=2)) if is_weighted else None
  value, gradient = _with_gradient(
      lambda q: losses.td_loss(q, targets, weights), q)
  for i in range(_N):
    expected = 0.
    for b in range(_B):
      for h in range(_K):
        error = q[i, b, h] - (targets[b] if is_shared else targets[i, b])
        weight = weights[i, b, h] if is_weighted else 1.
        expected += .5 * weight * error ** 2 / (_B * _K)
        np.testing.assert_allclose(
            gradient[i, b, h], weight * error / (_B * _K), rtol=1e-4,
            atol=1e-6)
    np.testing.assert_allclose(value[i], expected, rtol=1e-5)


@pytest.mark.parametrize('is_weighted', [False, True])
def test_rem_loss_is_that_of_the_mixture(is_weighted):
  q, targets = _normal(_N, _B, _K), _normal(_N, _B, seed=1)
  mixture = np.abs(_normal(_N, _B, seed=2))
  weights = np.abs(_normal(_N, _B, _K, seed=3)) if is_weighted else None
  value, gradient = _with_gradient(
      lambda q: losses.rem_td_loss(q, targets, mixture, weights, _shard()), q)
  shares = mixture / mixture.sum(0)
  expected, expected_gradient = 0., np.zeros(q.shape)
  for b in range(_B):
    for h in range(_K):
      weight = weights[:, b, h].mean() if is_weighted else 1.
      error = sum(shares[:, b] * q[:, b, h]) - sum(shares[:, b] * targets[:, b])
      expected += .5 * weight * error ** 2 / (_B * _K)
      expected_gradient[:, b, h] = weight * error * shares[:, b] / (_B * _K)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def _regularizer(kind, q_data, q_policy, log_proposal):
  """One member's R, row by row: `[B, K]`, `[M, B, K]` and `[M, B]`."""
  rows = []
  for b in range(_B):
    if kind == 'none':
      rows.append(0.)
      continue
    data, policy = q_data[b].astype(np.float64), q_policy[0, b]
    gap = min(policy) - min(data)
    if kind == 'v1':
      rows.append(gap)
    elif kind == 'v1_prime':
      rows.append(sum(policy - data))
    elif kind == 'v2':
      rows.append((np.sign(gap) + 1) / 2 * min(policy))
    elif kind == 'v3':
      rows.append(max(gap, 0.))
    elif kind == 'cql':
      rows.append(sum(
          np.log(sum(np.exp(q_policy[j, b, h] - log_proposal[j, b])
                     for j in range(len(q_policy)))) - data[h]
          for h in range(_K)))
  return np.mean(rows)


@pytest.mark.parametrize(
    'kind', ['none', 'v1', 'v1_prime', 'v2', 'v3', 'cql'])
def test_behavior_regularizers(kind):
  num_proposals = {'none': 0, 'cql': _M}.get(kind, 1)
  q_data = _normal(_N, _B, _K)
  q_policy = _normal(num_proposals, _N, _B, _K, seed=1)
  log_proposal = _normal(num_proposals, _N, _B, seed=2)
  value, gradient = _with_gradient(
      lambda q: losses.behavior_regularizer(kind, *q, log_proposal),
      (q_data, q_policy))
  np.testing.assert_allclose(
      value, [_regularizer(kind, q_data[i], q_policy[:, i], log_proposal[:, i])
              for i in range(_N)], rtol=1e-4, atol=1e-6)
  if kind == 'none':
    return
  if kind == 'cql':
    # Proposals that members share have one density for all.
    shared = jax.jit(losses.behavior_regularizer, static_argnums=0)(
        kind, q_data, q_policy, log_proposal[:, :1])
    np.testing.assert_allclose(
        shared,
        [_regularizer(kind, q_data[i], q_policy[:, i], log_proposal[:, 0])
         for i in range(_N)], rtol=1e-4)
    return
  # Which way it moves the values: policy's down, data's up; where, how far.
  gap = q_policy[0].min(-1) - q_data.min(-1)
  least_policy = np.eye(_K)[q_policy[0].argmin(-1)]
  least_data = np.eye(_K)[q_data.argmin(-1)]
  active = (gap > 0)[..., None]
  down, up = {
      'v1': (least_policy, least_data),
      'v1_prime': (np.ones_like(least_policy), np.ones_like(least_data)),
      'v2': (least_policy * active, 0. * least_data),
      'v3': (least_policy * active, least_data * active)}[kind]
  np.testing.assert_allclose(gradient[1][0], down / _B, rtol=1e-5)
  np.testing.assert_allclose(gradient[0], -up / _B, rtol=1e-5)


def test_v2_is_half_active_where_values_are_equal():
  q = np.full((1, 2, 1), 3., np.float32)
  value, gradient = _with_gradient(
      lambda q_policy: losses.behavior_regularizer('v2', q, q_policy, None),
      q[None])
  np.testing.assert_allclose(value, [.5 * 3.])
  np.testing.assert_allclose(gradient, np.full((1, 1, 2, 1), .5 / 2))


def test_unknown_regularizer_is_refused():
  with pytest.raises(ValueError, match="'v4'"):
    losses.behavior_regularizer('v4', np.ones((1, 1, 1)),
                                np.ones((1, 1, 1, 1)), None)


def _nt_xent(left, right, temperature):
  rows = list(left.astype(np.float64)) + list(right.astype(np.float64))
  size, loss, found = len(rows), [], []
  for j in range(size):
    partner = (j + size // 2) % size
    logits = {i: rows[j] @ rows[i] / temperature
              for i in range(size) if i != j}
    loss.append(np.log(sum(np.exp(x) for x in logits.values()))
                - logits[partner])
    found.append(max(logits, key=logits.get) == partner)
  return np.mean(loss), np.mean(found)


@pytest.mark.parametrize('temperature', [1., .3])
def test_nt_xent_and_sass(temperature):
  left = _normal(_B, _F)
  right = (left + .8 * _normal(_B, _F, seed=1)).astype(np.float32)
  loss, accuracy = _nt_xent(left, right, temperature)
  assert 0. < accuracy < 1.
  result = jax.jit(losses.nt_xent)(left, right, temperature)
  np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
  np.testing.assert_allclose(result.accuracy, accuracy)
  result = jax.jit(losses.sass_loss)(left, right, temperature)
  np.testing.assert_allclose(
      result.loss, .5 * (loss + _nt_xent(left, left, temperature)[0]),
      rtol=1e-5)
  np.testing.assert_allclose(result.accuracy, accuracy)


def test_temperature_loss():
  value, gradient = _with_gradient(
      lambda log_alpha: losses.temperature_loss(log_alpha, -1.5, -2.),
      np.float32(.7))
  # Entropy 1.5 is above its target -2: the coefficient goes down.
  np.testing.assert_allclose(value, np.exp(.7) * (1.5 + 2.), rtol=1e-6)
  np.testing.assert_allclose(gradient, np.exp(.7) * (1.5 + 2.), rtol=1e-6)
  by_policy = jax.grad(losses.temperature_loss, argnums=1)(.7, -1.5, -2.)
  assert by_policy == 0.


@pytest.mark.parametrize('beta', [-4., 0., 1.5])
@pytest.mark.parametrize('ddof', [0, 1])
def test_lower_confidence_bound(ddof, beta):
  q = _normal(_N, _B)
  value, gradient = _with_gradient(
      lambda q: losses.lower_confidence_bound(
          losses.ensemble_moments(q, _shard(), ddof), beta), q)
  q = q.astype(np.float64)
  mean, std = q.mean(0), q.std(0, ddof=ddof)
  np.testing.assert_allclose(value, mean + beta * std, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      gradient, 1 / _N + beta * (q - mean) / ((_N - ddof) * std), rtol=1e-4,
      atol=1e-5)


@pytest.mark.parametrize('ddof', [0, 1])
@pytest.mark.parametrize('num_members', [1, 3, 64])
def test_members_that_agree_have_no_spread(num_members, ddof):
  q = np.full((num_members, 3), [-200.3, 0., 1e-3], np.float32)
  def bound(q):
    moments = losses.ensemble_moments(q, _shard(num_members), ddof)
    return jnp.sum(losses.lower_confidence_bound(moments, -4.)), moments
  gradient, (mean, std) = jax.jit(jax.grad(bound, has_aux=True))(q)
  np.testing.assert_allclose(mean, q[0], rtol=1e-6)
  np.testing.assert_allclose(std, 0., atol=1e-6)
  # Rounding errors must not give all members the same spread gradient.
  np.testing.assert_allclose(gradient, 1 / num_members, rtol=1e-2)


@pytest.mark.parametrize('ddof', [0, 1])
@pytest.mark.parametrize('spread', [1e-3, 1e-1])
def test_small_spreads_of_large_values_keep_their_digits(spread, ddof):
  """Values near -200 of 64 members in float32 (docs/msg.md 3.8)."""
  q = (-200. + spread * _normal(64, 500)).astype(np.float32)
  moments, gradient = jax.jit(lambda q: (
      losses.ensemble_moments(q, _shard(64), ddof),
      jax.grad(lambda q: jnp.sum(
          losses.ensemble_moments(q, _shard(64), ddof).std))(q)))(q)
  exact = q.astype(np.float64)
  mean, std = exact.mean(0), exact.std(0, ddof=ddof)
  np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
  np.testing.assert_allclose(moments.std, std, rtol=1e-4)
  np.testing.assert_allclose(
      64 * gradient, 64 * (exact - mean) / ((64 - ddof) * std), atol=1e-3)
  # One pass would be wrong.
  in_one_pass = np.square(q).mean(0) - np.square(q.mean(0))
  assert np.mean(np.abs(in_one_pass - std ** 2) > .1 * std ** 2) > .1


def test_safe_sqrt():
  value, gradient = _with_gradient(
      losses.safe_sqrt, np.float32([-1., 0., 4.]))
  np.testing.assert_array_equal(value, [0., 0., 2.])
  np.testing.assert_array_equal(gradient, [0., 0., .25])


@pytest.mark.parametrize(
    'method', ['independent', 'shared_lcb', 'shared_mean', 'shared_min'])
def test_policy_objective(method):
  q = _normal(_N, _B)
  value, gradient = _with_gradient(
      lambda q: losses.policy_objective(
          q, losses.ensemble_moments(q, _shard()), method, -2., _shard()), q)
  kind = 'shared_lcb' if method == 'independent' else method
  np.testing.assert_allclose(value, _shared(q, kind, -2., 0), rtol=1e-4)
  mean, std = q.mean(0), q.std(0)
  expected = {
      'shared_mean': np.full(q.shape, 1 / _N),
      # Only the smallest member of each sample has a gradient.
      'shared_min': np.eye(_N)[q.argmin(0)].T,
      'shared_lcb': 1 / _N - 2. * (q - mean) / (_N * std)}[kind]
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


_Q, _ROWS = np.zeros((_N, _B, _K), np.float32), np.zeros((_N, _B), np.float32)


@pytest.mark.parametrize('call', [
    lambda: losses.ensemble_moments(_ROWS[:2], _shard()),
    lambda: losses.td_target(_Q, _ROWS[:, :2], _ROWS[:, :2], .9),
    lambda: losses.td_target(_Q, _ROWS, _ROWS[0], .9),
    lambda: losses.shared_td_target(_Q, 'shared_mean', -1., 0, _shard()),
    lambda: losses.policy_objective(
        _ROWS, losses.Moments(_ROWS, _ROWS), 'independent', -1., _shard()),
    lambda: losses.td_loss(_Q, _Q, None),
    lambda: losses.td_loss(_ROWS, _ROWS[0], None),
    lambda: losses.td_loss(_Q, _ROWS, _ROWS),
    lambda: losses.rem_td_loss(_Q, _ROWS[0], _ROWS, None, _shard()),
    lambda: losses.behavior_regularizer('v1', _Q, _Q, None),
    lambda: losses.behavior_regularizer('cql', _Q, _Q[None], _ROWS),
    lambda: losses.nt_xent(_ROWS, _ROWS[:2], 1.),
    lambda: losses.temperature_loss(_ROWS[0], 0., -1.),
])
def test_refuses_other_shapes(call):
  """Broadcasting would otherwise hide them."""
  with pytest.raises(AssertionError):
    call()
