"""Phases of training and copies of targets (docs/msg.md 2.3 and 3.11)."""

import jax
import numpy as np
import pytest
import tiny

_PRETRAINING = 2
_CLONING = 3
_NUM_STEPS = 12


def _make_config(**options):
  """Pre-trains in steps 0 and 1, clones in 2, 3 and 4, then maximises."""
  return tiny.make_config(**{**dict(
      num_q_repr_pretrain_iters=_PRETRAINING, num_bc_iters=_CLONING,
      num_sgd_steps_per_step=1), **options})


def _run(config):
  """States after each call of the program, by number of gradient steps."""
  program = tiny.make_program(config)
  data = program.put_dataset(tiny.make_data())
  states = {0: program.state}
  while max(states) < _NUM_STEPS:
    program.run_resident(data)
    states[max(states) + config.num_sgd_steps_per_step] = program.state
  assert program.num_traces == 1
  return states


@pytest.fixture(scope='module')
def single_steps():
  return _run(_make_config())


def _assert_equal(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


def _differ(tree, other):
  return any(not np.array_equal(x, y) for x, y in zip(
      jax.tree.leaves(tree), jax.tree.leaves(other)))


def test_phases_of_single_steps(single_steps):
  for step in range(_NUM_STEPS):
    before, after = single_steps[step], single_steps[step + 1]
    assert after.steps == step + 1
    assert _differ(before.critic_params, after.critic_params)
    # Adam starts again once, when pre-training ends.
    count = after.critic_opt_state[0].count
    if step < _PRETRAINING:
      assert count == step + 1
      _assert_equal(before.policy_params, after.policy_params)
      _assert_equal(before.policy_opt_state, after.policy_opt_state)
      _assert_equal(after.target_critic_params, after.critic_params)
    else:
      assert count == step + 1 - _PRETRAINING
      assert _differ(before.policy_params, after.policy_params)
      assert _differ(after.target_critic_params, after.critic_params)
    assert after.policy_opt_state[0].count == max(step + 1 - _PRETRAINING, 0)
    if step < _PRETRAINING + _CLONING:
      assert after.log_alpha == 0.
      assert after.alpha_opt_state[0].count == 0
    else:
      assert after.log_alpha != before.log_alpha
      assert after.alpha_opt_state[0].count == (
          step + 1 - _PRETRAINING - _CLONING)


@pytest.mark.parametrize('steps', [2, 3, 7])
def test_phases_do_not_depend_on_steps_per_call(single_steps, steps):
  # Phases end after 2 and 5 steps: between calls and within different calls
  # (2), within different calls (3) and within the same call (7).
  states = _run(_make_config(num_sgd_steps_per_step=steps))
  for step, state in states.items():
    if step <= _NUM_STEPS:
      _assert_equal(state, single_steps[step])
    else:
      assert state.alpha_opt_state[0].count == (
          step - _PRETRAINING - _CLONING)
      assert state.steps == step


@pytest.fixture(scope='module')
def compiled():
  """One compiled gradient step, state and minibatch."""
  config = _make_config()
  return (tiny.make_update_step(config), tiny.make_state(config),
          tiny.make_data(config.batch_size))


def test_cloning_never_reads_critics(compiled):
  step, state, transition = compiled
  broken = jax.tree.map(
      lambda x: np.full_like(x, np.nan), state.critic_params)
  for steps in range(_PRETRAINING, _PRETRAINING + _CLONING + 1):
    now = state._replace(steps=np.int32(steps))
    expected, _ = step(now, transition)
    found, _ = step(now._replace(
        critic_params=broken, target_critic_params=broken), transition)
    assert np.all(np.isnan(tiny.flatten(found.critic_params)))
    if steps < _PRETRAINING + _CLONING:
      for name in ('policy_params', 'policy_opt_state', 'log_alpha',
                   'alpha_opt_state'):
        _assert_equal(getattr(found, name), getattr(expected, name))
    else:
      assert np.all(np.isnan(tiny.flatten(found.policy_params)))


def test_cloning_follows_the_actions_of_the_data_alone(compiled):
  step, state, transition = compiled
  cloning = state._replace(steps=np.int32(_PRETRAINING))
  expected = step(cloning, transition)[0].policy_params
  same = transition._replace(
      reward=transition.reward + 1., discount=1. - transition.discount,
      next_observation=transition.next_observation + 1.)
  _assert_equal(step(cloning, same)[0].policy_params, expected)
  other = transition._replace(action=-transition.action)
  assert _differ(step(cloning, other)[0].policy_params, expected)


def test_pretraining_reads_no_rewards(compiled):
  step, state, transition = compiled
  expected, _ = step(state, transition)
  same = transition._replace(reward=transition.reward + 1.,
                             discount=1. - transition.discount)
  _assert_equal(step(state, same)[0], expected)
  # Half of the next actions are the data's, the others are random.
  half = len(transition.action) // 2
  next_action = transition.extras['next_action']
  for rows, matters in ((slice(half), True), (slice(half, None), False)):
    moved = next_action.copy()
    moved[rows] *= -1.
    other, _ = step(
        state, transition._replace(extras={'next_action': moved}))
    assert _differ(other, expected) == matters


def test_metrics_of_each_phase(compiled):
  step, state, transition = compiled
  names = []
  for steps in (0, _PRETRAINING, _PRETRAINING + _CLONING):
    _, metrics = step(state._replace(steps=np.int32(steps)), transition)
    weights = {name: float(w) for name, w in metrics.weights.items()}
    assert set(weights.values()) <= {0., 1.}
    names.append({name for name, weight in weights.items() if weight})
  pretraining = {'pretraining/pretrain_loss', 'pretraining/pretrain_acc'}
  cloning = {'critic_loss', 'behavior_reg_loss', 'actor_loss', 'avg_log_prob'}
  maximizing = {'q', 'q_mean', 'q_std', 'alpha', 'alpha_loss'}
  assert names == [pretraining, cloning, cloning | maximizing]


@pytest.mark.parametrize('options, period', [
    (dict(target_update_period=3), 3),
    # The default is once per learner step.
    (dict(num_sgd_steps_per_step=2), 2)])
def test_targets_are_copied_periodically(options, period):
  config = tiny.make_config(use_ema_target_critic_params=False, **options)
  step = tiny.make_update_step(config)
  transition = tiny.make_data(config.batch_size)
  state = tiny.make_state(config)
  target = state.target_critic_params
  for i in range(1, 2 * period + 2):
    state, _ = step(state, transition)
    if i % period == 0:
      target = state.critic_params
    _assert_equal(state.target_critic_params, target)
