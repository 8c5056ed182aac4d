"""Tests of all critic ensembles."""

from acme_msg import networks
import jax
import numpy as np
import pytest

_MIMO = dict(ensemble_method='mimo', mimo_using_obs_tile=True,
             mimo_using_act_tile=True)
_TREE = dict(ensemble_method='tree_deep_ensembles')
_VARIANTS = [
    dict(ensemble_method='deep_ensembles'), dict(ensemble_method='multi_head'),
    _MIMO, dict(_TREE, tree_branching=2, tree_depth=2, tree_width=4),
    dict(ensemble_method='batch_ensemble')]
_NAMES = [variant['ensemble_method'] for variant in _VARIANTS]


def _make(options, **others):
  return networks.make_critic(3, 2, **{
      'ensemble_size': 4, 'hidden_sizes': (6, 5), **options, **others})


@pytest.mark.parametrize('options, size, count', [
    # Counts of weights and biases with three hidden layers of 256.
    (_VARIANTS[0], 64, 9_060_416), (_VARIANTS[0], 4, 566_276),
    (_VARIANTS[1], 64, 157_760), (_VARIANTS[1], 4, 142_340),
    (_MIMO, 64, 754_496), (_MIMO, 4, 170_756),
    (_TREE, 64, 5_318_720),
    (_VARIANTS[4], 64, 140_800 + 64 * 2_343), (_VARIANTS[4], 4, 150_172)])
@pytest.mark.parametrize('use_double_q', [False, True])
def test_parameters_are_as_many_as_specified(
    options, size, count, use_double_q):
  critic = networks.make_critic(
      29, 8, ensemble_size=size, hidden_sizes=(256, 256, 256),
      use_double_q=use_double_q, **options)
  params = jax.eval_shape(critic.init, jax.random.PRNGKey(0))
  total = sum(x.size for x in jax.tree.leaves(params))
  assert total == count * (2 if use_double_q else 1)
  assert critic.num_members == size


@pytest.mark.parametrize('options', _VARIANTS, ids=_NAMES)
def test_heads_are_independent_networks(options):
  """Two heads are two ensembles with one head, concatenated."""
  single, double = _make(options), _make(options, use_double_q=True)
  init = jax.jit(double.init)
  params = init(jax.random.PRNGKey(0))
  rng = np.random.default_rng(0)
  args = (rng.normal(size=(7, 3)).astype(np.float32),
          rng.normal(size=(7, 2)).astype(np.float32))
  both = jax.jit(double.apply)(params, *args)
  heads = [jax.jit(single.apply)((p,), *args) for p in params]
  np.testing.assert_array_equal(
      both.q, np.concatenate([h.q for h in heads], axis=-1))
  np.testing.assert_array_equal(
      both.features, np.concatenate([h.features for h in heads], axis=-1))
  assert both.q.shape == (4, 7, 2)

  # The key alone decides, and no two weights are equal.
  again = init(jax.random.PRNGKey(0))
  jax.tree.map(np.testing.assert_array_equal, params, again)
  weights = np.concatenate([
      np.ravel(x) for path, x in jax.tree_util.tree_leaves_with_path(params)
      if path[-1].key == 'w'])
  assert len(np.unique(weights)) == weights.size


def test_members_share_nothing():
  """A member's values keep their bits when all other members change."""
  critic = _make(_VARIANTS[0])
  params = jax.jit(critic.init)(jax.random.PRNGKey(0))
  apply = jax.jit(critic.apply)
  args = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
  before = apply(params, *args).q
  others = np.arange(4) != 2
  changed = jax.tree.map(
      lambda x: np.where(others.reshape((4,) + (1,) * (x.ndim - 1)), x + 1, x),
      params)
  after = apply(changed, *args).q
  np.testing.assert_array_equal(after[2], before[2])
  assert np.all(after[others] != before[others])


@pytest.mark.parametrize('options', _VARIANTS, ids=_NAMES)
def test_member_arrays_affect_their_member_only(options, randomize):
  """The gradient of a member's value is zero for other members' arrays."""
  critic = _make(options)
  params = randomize(jax.jit(critic.init)(jax.random.PRNGKey(0)))
  args = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
  jacobian = jax.jit(jax.jacrev(
      lambda p: critic.apply(p, *args).q.sum(axis=(1, 2))))(params)
  is_member = critic.member_leaves(params, 1)
  num_checked = 0
  for by_member, x, member in zip(*map(
      jax.tree.leaves, (jacobian, params, is_member))):
    if not member or x.shape[0] != 4:  # Shared, or a tree's upper level.
      continue
    touched = np.any(by_member.reshape(4, 4, -1), axis=-1)
    assert not np.any(touched & ~np.eye(4, dtype=bool))
    num_checked += np.all(np.diag(touched))
  assert num_checked >= {
      'deep_ensembles': 3, 'tree_deep_ensembles': 2, 'batch_ensemble': 3,
  }.get(options['ensemble_method'], 0)
  if options['ensemble_method'] in ('mimo', 'multi_head'):
    # One network, whose last layer has a column for each member.
    assert not any(jax.tree.leaves(is_member))
    columns = np.abs(jacobian[0]['q']['w']).sum(axis=1) > 0
    np.testing.assert_array_equal(columns, np.eye(4, dtype=bool))


def test_unknown_method_and_wrong_tree_are_refused():
  with pytest.raises(ValueError, match="ensemble_method='dropout'.*'mimo'"):
    _make(dict(ensemble_method='dropout'))
  with pytest.raises(ValueError, match='has 64 leaves, not ensemble_size=4'):
    _make(_TREE)
