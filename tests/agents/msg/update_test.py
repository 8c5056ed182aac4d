"""The gradient step against NumPy, and its invariants."""

import chex
import jax
import numpy as np
import numpy_msg
import pytest
import tiny

# Each case compares a few steps: pre-training if there is any, one step of
# behaviour cloning and one that maximises the lower confidence bound.
_CASES = {
    'deep': dict(),
    'deep_double_q_sass': dict(
        use_double_q=True, td_target_method='shared_lcb', std_ddof=1,
        behavior_regularization_type='v3',
        use_random_weighting_in_critic_loss=False, entropy_coefficient=0.3,
        use_sass=True, num_q_repr_pretrain_iters=1, ensemble_size=2),
    'tree_v1_prime': dict(tiny.TREE, behavior_regularization_type='v1_prime'),
    'shared_min_v2': dict(
        td_target_method='shared_min', behavior_regularization_type='v2'),
    'multi_head_adamw': dict(
        tiny.MULTI_HEAD, td_target_method='shared_mean', mimo_using_adamw=True,
        target_entropy=0.5, use_sass=True),
    'mimo_cql': dict(tiny.MIMO, behavior_regularization_type='cql'),
    'batch_ensemble': dict(tiny.BATCH_ENSEMBLE, use_double_q=True),
    'batch_ensemble_unsplit_sass': dict(
        tiny.BATCH_ENSEMBLE, batch_split=False, use_sass=True,
        num_q_repr_pretrain_iters=1, ensemble_size=2),
    'rem_v1_prime_double_q': dict(
        rem_mode=True, behavior_regularization_type='v1_prime',
        use_double_q=True),
    'sarsa': dict(perform_sarsa_q_eval=True,
                  behavior_regularization_type='none'),
}


def _disturb(params, seed):
  """Moves all parameters; ReLUs are not differentiable at zero biases."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda x: x + np.float32(0.1) * rng.normal(size=x.shape).astype(x.dtype),
      params)


def _adam(opt_state):
  """Returns the moments in a state of Optax."""
  return opt_state[0]


def _assert_metrics(metrics, expected):
  """Compares the metrics with a weight, values of members and rows included."""
  found = {}
  for values in metrics[:-1]:
    found.update(values)
  assert found.keys() == metrics.weights.keys()
  assert set(map(float, metrics.weights.values())) <= {0., 1.}
  found = {name: found[name] for name, w in metrics.weights.items() if w}
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name].shape == np.shape(value), name
    np.testing.assert_allclose(
        found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('case', _CASES)
def test_equals_numpy(case):
  config = tiny.make_config(num_bc_iters=1, **_CASES[case])
  transition = tiny.make_data(config.batch_size)
  step = tiny.make_update_step(config)
  state = tiny.make_state(config)
  state = state._replace(
      policy_params=_disturb(state.policy_params, 0),
      critic_params=_disturb(state.critic_params, 1),
      target_critic_params=_disturb(state.target_critic_params, 2))
  reference = numpy_msg.Reference(config, transition)
  expected = numpy_msg.make_state(state)
  for _ in range(config.num_q_repr_pretrain_iters + 2):
    state, metrics = step(state, transition)
    expected, expected_metrics = reference.step(expected)
    _assert_metrics(metrics, expected_metrics)
    # Moments show factors in a loss, which Adam's steps do not.
    for ours, theirs in (
        (state.policy_opt_state, expected.policy_adam),
        (state.critic_opt_state, expected.critic_adam),
        (state.alpha_opt_state, expected.alpha_adam)):
      chex.assert_trees_all_close(
          _adam(ours).mu, theirs.mean, rtol=1e-3, atol=1e-6)
      chex.assert_trees_all_close(
          _adam(ours).nu, theirs.square, rtol=2e-3, atol=1e-9)
      assert _adam(ours).count == theirs.count
    # The smallest learning rate is 1e-3: this is a hundredth of one step.
    for ours, theirs in (
        (state.policy_params, expected.policy),
        (state.critic_params, expected.critic),
        (state.target_critic_params, expected.target),
        (state.log_alpha, expected.log_alpha)):
      chex.assert_trees_all_close(ours, theirs, atol=1e-5)
    assert state.steps == expected.steps


def _run(config, state, num_steps=1):
  step = tiny.make_update_step(config)
  transition = tiny.make_data(config.batch_size)
  for _ in range(num_steps):
    state, _ = step(state, transition)
  return state


def _changed(before, after):
  """Returns whether each leaf differs, as a list."""
  return [not np.array_equal(x, y) for x, y in zip(
      jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]


@pytest.fixture(scope='module')
def deep():
  """Config, compiled step, state and minibatch of a deep ensemble."""
  config = tiny.make_config()
  return (config, tiny.make_update_step(config), tiny.make_state(config),
          tiny.make_data(config.batch_size))


def test_members_are_independent(deep):
  _, step, state, transition = deep
  member = 1
  def disturb(params):
    params = jax.tree.map(np.array, params)
    for leaf in jax.tree.leaves(params):
      leaf[member] += 0.1
    return params
  new, _ = step(state, transition)
  disturbed, _ = step(
      state._replace(
          critic_params=disturb(state.critic_params),
          target_critic_params=disturb(state.target_critic_params)),
      transition)
  for name in ('critic_params', 'target_critic_params', 'critic_opt_state'):
    for ours, theirs in zip(jax.tree.leaves(getattr(new, name)),
                            jax.tree.leaves(getattr(disturbed, name))):
      if ours.ndim:
        others = np.arange(len(ours)) != member
        np.testing.assert_array_equal(ours[others], theirs[others])
        assert np.any(ours[member] != theirs[member]) or not np.any(ours)
  # The policy's step uses all members.
  assert any(_changed(new.policy_params, disturbed.policy_params))


def test_actor_uses_critics_before_their_step(deep):
  config, step, state, transition = deep
  new, _ = step(state, transition)
  # Rewards change the critics' step, but not the policy's.
  other, _ = step(state, transition._replace(reward=transition.reward + 5.))
  assert any(_changed(new.critic_params, other.critic_params))
  assert not any(_changed(new.policy_params, other.policy_params))
  assert config.num_bc_iters == 0


def test_discount_masks_terminal_transitions(deep):
  _, step, state, transition = deep
  terminal = transition._replace(discount=np.zeros_like(transition.discount))
  new, _ = step(state, terminal)
  moved = terminal._replace(next_observation=terminal.next_observation + 1.)
  assert not any(_changed(new, step(state, moved)[0]))
  moved = moved._replace(discount=np.ones_like(transition.discount))
  assert any(_changed(new, step(state, moved)[0]))


def test_same_key_same_bits_and_new_key_each_step(deep):
  _, step, state, transition = deep
  first, again = step(state, transition)[0], step(state, transition)[0]
  assert not any(_changed(first, again))
  assert np.any(first.key != state.key)
  other, _ = step(state._replace(key=first.key), transition)
  assert any(_changed(first.critic_params, other.critic_params))


@pytest.mark.parametrize('ensemble_size', [1, 4])
def test_identical_members_stay_finite(ensemble_size):
  # Their standard deviation is zero, where the square root has no gradient.
  config = tiny.make_config(
      ensemble_size=ensemble_size, std_ddof=1, td_target_method='shared_lcb')
  state = tiny.make_state(config)
  same = jax.tree.map(
      lambda x: np.repeat(x[:1], ensemble_size, axis=0), state.critic_params)
  state = _run(config, state._replace(
      critic_params=same, target_critic_params=same), 3)
  assert np.all(np.isfinite(tiny.flatten(state._replace(key=0))))


def test_without_entropy_regularization():
  config = tiny.make_config(use_entropy_regularization=False)
  before = tiny.make_state(config)
  after = _run(config, before)
  assert after.log_alpha == 0. and _adam(after.alpha_opt_state).count == 0
  # The policy's step does not depend on the temperature.
  hot = _run(config, before._replace(log_alpha=np.float32(3.)))
  assert not any(_changed(after.policy_params, hot.policy_params))


def test_batch_ensemble_bounds_its_temperature_from_below():
  # Entropy is far above this target, so that the temperature falls.
  config = tiny.make_config(
      **tiny.BATCH_ENSEMBLE, alpha_lr=1., target_entropy=-1000.)
  step = tiny.make_update_step(config)
  transition = tiny.make_data(config.batch_size)
  state = tiny.make_state(config)._replace(log_alpha=np.float32(-18.5))
  path = []
  for _ in range(4):
    state, _ = step(state, transition)
    path.append(float(state.log_alpha))
  np.testing.assert_allclose(path, [-19.5, -20., -20., -20.], atol=0.01)
