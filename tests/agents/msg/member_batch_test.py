"""Tests of minibatches as members see them."""

import functools

from acme_msg import networks as networks_lib
from acme_msg.agents import sharding
from acme_msg.agents.msg import member_batch
import jax
import numpy as np
import pytest
import tiny

_N = 4
_VARIANTS = {
    'deep': dict(),
    'multi_head': tiny.MULTI_HEAD,
    'mimo': tiny.MIMO,
    'mimo_half_tiled': dict(ensemble_method='mimo', mimo_using_obs_tile=True),
    'tree': tiny.TREE,
    'batch_ensemble': tiny.BATCH_ENSEMBLE,
    'batch_ensemble_unsplit': dict(tiny.BATCH_ENSEMBLE, batch_split=False)}
_HAS_OWN_SAMPLES = ('deep', 'batch_ensemble', 'batch_ensemble_unsplit')


def _policy_params(networks, raw_scale):
  """Parameters of a policy with scale `softplus(raw_scale) + floor`."""
  params = jax.jit(networks.policy.init)(jax.random.PRNGKey(0))
  params = jax.tree.map(np.array, params)
  params['loc']['b'] += np.float32([.3, -.4])
  params['scale']['w'] *= 0.
  params['scale']['b'] += np.float32(raw_scale)
  return params


def _location(params, observation):
  trunk = params['policy_trunk/~/linear_0']
  hidden = np.maximum(observation @ trunk['w'] + trunk['b'], 0.)
  return hidden @ params['loc']['w'] + params['loc']['b']


def _transition(num_rows):
  """Rows that differ in their rewards 0, 1, 2, ..."""
  return tiny.make_data(num_rows)._replace(
      reward=np.arange(num_rows, dtype=np.float32))


@functools.cache
def _compiled(config, num_devices):
  """Networks and the function that makes minibatches; vmap emulates devices."""
  networks = tiny.make_networks(config)
  shard = sharding.Shard(num_devices, _N, networks.critic.shard_over)
  make_batch = member_batch.make_member_batch_fn(networks, config, shard)
  return networks, jax.jit(jax.vmap(
      make_batch, in_axes=None, axis_size=num_devices,
      axis_name=sharding.AXIS))


def _make(variant, num_rows=16, num_devices=1, raw_scale=-50., **options):
  """Minibatch, with a leading `[D]` if D > 1, transition and parameters."""
  networks, run = _compiled(tiny.make_config(
      **_VARIANTS[variant], batch_size=num_rows, **options), num_devices)
  params = _policy_params(networks, raw_scale)
  transition = _transition(num_rows)
  batch = jax.device_get(run(params, transition, jax.random.PRNGKey(1)))
  if num_devices == 1:
    batch = jax.tree.map(lambda x: x[0], batch)
  return batch, transition, params


def _assert_rows(batch, transition, rows):
  """Asserts that s, a, r, d and s' are these rows."""
  for name in ('observation', 'action', 'reward', 'discount',
               'next_observation'):
    np.testing.assert_array_equal(
        getattr(batch, name), getattr(transition, name)[rows], err_msg=name)


@pytest.mark.parametrize('num_rows', [16, 7])
def test_mimo_permutes_half_of_the_rows_for_each_member(num_rows):
  batch, transition, params = _make('mimo', num_rows)
  rows = batch.reward.astype(int)
  assert rows.shape == (_N, num_rows)
  half = num_rows // 2
  np.testing.assert_array_equal(
      rows[:, half:], np.tile(np.arange(half, num_rows), (_N, 1)))
  np.testing.assert_array_equal(
      np.sort(rows[:, :half]), np.tile(np.arange(half), (_N, 1)))
  assert len(np.unique(rows, axis=0)) > 1
  # Each member's rows stay whole; the policy is almost deterministic.
  _assert_rows(batch, transition, rows)
  for actions, observation in (
      (batch.next_action, batch.next_observation),
      (batch.proposals[0], batch.observation)):
    np.testing.assert_allclose(
        np.arctanh(actions), _location(params, observation), atol=.06)
  # A transition's actions are drawn once, for all members.
  for values in (batch.next_action, batch.proposals[0],
                 batch.log_proposal[0][..., None]):
    by_row = np.stack([values[i][np.argsort(rows[i])] for i in range(_N)])
    np.testing.assert_array_equal(by_row, np.tile(by_row[:1], (_N, 1, 1)))


def test_batch_ensemble_members_split_the_rows():
  batch, transition, params = _make('batch_ensemble')
  _assert_rows(batch, transition, np.arange(16).reshape(_N, 4))
  assert batch.proposals.shape == (1, _N, 4, tiny.ACTION_SIZE)
  for actions, observation in (
      (batch.next_action, batch.next_observation),
      (batch.proposals[0], batch.observation)):
    np.testing.assert_allclose(
        np.arctanh(actions), _location(params, observation), atol=.06)


@pytest.mark.parametrize('variant', [
    'deep', 'tree', 'multi_head', 'mimo_half_tiled', 'batch_ensemble_unsplit'])
def test_other_members_see_the_same_rows(variant):
  batch, transition, params = _make(variant, raw_scale=0.)
  _assert_rows(batch, transition, np.arange(16))
  own = (_N,) if variant in _HAS_OWN_SAMPLES else ()
  assert batch.next_action.shape == own + (16, tiny.ACTION_SIZE)
  assert batch.proposals.shape == (1,) + own + (16, tiny.ACTION_SIZE)
  floor = .001 if variant == 'batch_ensemble_unsplit' else .01
  scale = np.log(2.) + floor
  noise = [
      (np.arctanh(actions.astype(np.float64)) - _location(params, observation))
      / scale for actions, observation in (
          (batch.next_action, batch.next_observation),
          (batch.proposals[0], batch.observation))]
  # Members, rows, a' and proposals have different noise.
  assert len(np.unique(np.round(noise, 4))) >= .98 * np.size(noise)
  np.testing.assert_allclose(np.mean(noise), 0., atol=4 / np.size(noise) ** .5)
  np.testing.assert_allclose(np.std(noise), 1., atol=3 / np.size(noise) ** .5)


@pytest.mark.parametrize('variant', _VARIANTS)
def test_noise_does_not_depend_on_devices(variant):
  """Minibatches of D devices, joined, are that of one device."""
  make = functools.partial(
      _make, variant, raw_scale=0., behavior_regularization_type='cql')
  whole, _, _ = make()
  parts, _, _ = make(num_devices=2)
  networks = tiny.make_networks(tiny.make_config(**_VARIANTS[variant]))
  over_members = networks.critic.shard_over == 'members'
  for name, x in whole._asdict().items():
    part = getattr(parts, name)
    if part.shape[1:] == x.shape:  # Neither split over members nor rows.
      together = part[0]
      np.testing.assert_array_equal(part[0], part[1])
      assert over_members
    else:
      member_axis = int(name in ('proposals', 'log_proposal'))
      row_axis = -1 if name in ('reward', 'discount', 'log_proposal') else -2
      together = np.concatenate(
          part, axis=member_axis if over_members else row_axis)
    np.testing.assert_allclose(together, x, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize('variant', ['deep', 'mimo', 'batch_ensemble'])
def test_sarsa_uses_next_actions_of_the_data(variant):
  batch, transition, _ = _make(
      variant, perform_sarsa_q_eval=True, behavior_regularization_type='none')
  rows = batch.reward.astype(int)
  np.testing.assert_array_equal(
      batch.next_action, transition.extras['next_action'][rows])
  assert batch.proposals.shape[0] == batch.log_proposal.shape[0] == 0


@pytest.mark.parametrize('variant', ['deep', 'mimo', 'batch_ensemble', 'tree'])
def test_cql_proposals_and_their_densities(variant):
  m = tiny.make_config().num_cql_actions
  batch, _, params = _make(
      variant, raw_scale=-1., behavior_regularization_type='cql')
  assert batch.proposals.shape[0] == batch.log_proposal.shape[0] == 2 * m
  # `[2m, n or 1, b]`.
  assert batch.log_proposal.ndim == 3
  scale = np.log1p(np.exp(-1.)) + (.001 if variant == 'batch_ensemble' else .01)
  actions = batch.proposals.astype(np.float64)
  gaussian = np.arctanh(actions[:m])
  density = np.sum(
      -.5 * ((gaussian - _location(params, batch.observation)) / scale) ** 2
      - np.log(scale * np.sqrt(2 * np.pi)) - np.log(1 - actions[:m] ** 2), -1)
  inside = np.all(np.abs(actions[:m]) < .998, axis=-1)
  assert inside.mean() > .9
  np.testing.assert_allclose(
      batch.log_proposal[:m].reshape(density.shape)[inside], density[inside],
      rtol=1e-3, atol=1e-3)
  uniform = actions[m:]
  assert np.all(np.abs(uniform) < 1.)
  np.testing.assert_allclose(np.var(uniform), 4 / 12, atol=.1)
  np.testing.assert_allclose(
      batch.log_proposal[m:], -tiny.ACTION_SIZE * np.log(2.), rtol=1e-6)
  if variant != 'mimo':  # Members with shuffled rows share draws.
    assert len(np.unique(uniform)) == uniform.size


def test_row_noise_differs_by_member_and_row():
  shard = sharding.Shard(1, _N, 'members')
  noise = np.asarray(member_batch.row_noise(
      jax.random.PRNGKey(0), (_N, 500, 2), shard, maximum=2.))
  assert len(np.unique(noise)) > .999 * noise.size
  assert 0. < noise.min() < .01 and 1.99 < noise.max() < 2.
  np.testing.assert_allclose(noise.mean(axis=(1, 2)), 1., atol=.07)
  np.testing.assert_allclose(noise.var(), 4 / 12, rtol=.05)
  for shard_over, local in (('members', (2, 500, 2)), ('batch', (4, 250, 2))):
    shard = sharding.Shard(2, _N, shard_over)
    parts = jax.vmap(
        lambda _: member_batch.row_noise(
            jax.random.PRNGKey(0), local, shard, maximum=2.),
        axis_name=sharding.AXIS)(np.arange(2))
    np.testing.assert_array_equal(
        np.concatenate(parts, axis=0 if shard_over == 'members' else 1), noise)


@pytest.mark.parametrize('variant, proposals', [
    ('deep', 'v1'), ('deep', 'none'), ('multi_head', 'cql'), ('mimo', 'v1'),
    ('batch_ensemble', 'cql')])
def test_evaluate_distinguishes_actions(variant, proposals):
  batch, _, _ = _make(
      variant, raw_scale=0., behavior_regularization_type=proposals)

  def q_fn(observation, action):
    """Values that differ by member, row and head: `[N, rows, 2]`."""
    value = np.sum(observation, -1) + 10 * np.sum(action, -1)
    value = np.broadcast_to(value, (_N, value.shape[-1]))
    return np.stack([value, 2 * value], -1) + np.arange(_N)[:, None, None]

  q_data, q_proposals = member_batch.evaluate(q_fn, batch)
  np.testing.assert_allclose(
      q_data, q_fn(batch.observation, batch.action), rtol=1e-4, atol=1e-4)
  assert len(q_proposals) == len(batch.proposals)
  for values, actions in zip(q_proposals, batch.proposals):
    np.testing.assert_allclose(
        values, q_fn(batch.observation, actions), rtol=1e-4, atol=1e-4)


def test_which_members_draw_their_own_samples():
  for variant, options in _VARIANTS.items():
    critic = networks_lib.make_critic(
        3, 2, **{'ensemble_size': _N, **options})
    assert critic.independent_samples == (variant in _HAS_OWN_SAMPLES)
