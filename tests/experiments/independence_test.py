"""Tests that shared targets become optimistic and independent ones do not."""

import functools

from acme_msg.experiments import independence
from acme_msg.experiments import plots
import jax
import numpy as np
from PIL import Image
import pytest

_BETA = -2.
_NUM_DRAWS = 40
_BOLD, _INSIDE, _WALKING = _ACTIONS = (independence.POLICY_ACTION, 0., 0.75)

# Compiled, because the many small operations would take longer one by one.
_make_problem = jax.jit(independence.make_problem)


@functools.cache
def _excesses(method, beta):
  actions = np.array(_ACTIONS, np.float32)
  return np.asarray(
      independence.excess(actions, method, beta, _NUM_DRAWS, seed=7))


def _excess(action, method, beta=_BETA):
  return _excesses(method, beta)[_ACTIONS.index(action)]


def test_independent_targets_stay_pessimistic():
  excess = _excess(_BOLD, 'independent')
  assert excess.shape == (_NUM_DRAWS, independence.NUM_ROOMS)
  assert excess.max() < -0.1


@pytest.mark.parametrize('method', ['shared_lcb', 'shared_min'])
def test_shared_targets_turn_optimistic(method):
  """In every draw, in the room before the one without actions in the data."""
  excess = _excess(_BOLD, method)
  assert excess[:, -1].max() < -1.
  assert excess[:, -2].min() > 0.2 and excess[:, -2].mean() > 1.
  above = independence.is_above(excess)
  assert 0.35 < above.mean() < 0.5
  assert not above[:, 1::2].any()


def test_asking_for_more_pessimism_gives_more_optimism():
  little, much = (
      _excess(_BOLD, 'shared_lcb', beta)[:, -2].mean() for beta in (-2., -8.))
  assert much == pytest.approx(4 * little, rel=0.1)


@pytest.mark.parametrize('action', [_INSIDE, _WALKING])
@pytest.mark.parametrize('method', independence.METHODS)
def test_there_is_no_optimism_without_a_negative_weight(method, action):
  assert not independence.is_above(_excess(action, method)).any()


@pytest.mark.parametrize('action', [_BOLD, _WALKING])
@pytest.mark.parametrize('method', independence.METHODS)
def test_members_without_uncertainty_find_the_true_values(method, action):
  problem = _make_problem(jax.random.PRNGKey(3), action)
  certain = problem._replace(prior_at_data=0. * problem.prior_at_data,
                             prior_at_policy=0. * problem.prior_at_policy)
  assert np.ptp(problem.true_values) > 0.1
  np.testing.assert_allclose(
      independence.pessimistic_values(certain, method, _BETA),
      problem.true_values, atol=1e-3)


@pytest.mark.parametrize('action', [_BOLD, _WALKING])
def test_values_are_those_of_the_papers_closed_form(action):
  """Compares with fixed points of fitted Q evaluation in double precision."""
  problem = _make_problem(jax.random.PRNGKey(3), action)
  reward, discount, next_room, _, at_data, at_policy, smoother = (
      np.asarray(x, np.float64) for x in problem)
  rooms = np.arange(independence.NUM_ROOMS)
  backup = smoother @ (
      0.99 * discount[:, None] * (next_room[:, None] == rooms))
  solve = lambda x: np.linalg.solve(np.eye(len(rooms)) - backup, x)
  unlearned = at_policy - at_data @ smoother.T

  own = solve((unlearned + smoother @ reward).T)
  np.testing.assert_allclose(
      independence.pessimistic_values(problem, 'independent', _BETA),
      own.mean(1) + _BETA * own.std(1), rtol=1e-3, atol=1e-3)
  shared = solve(
      unlearned.mean(0) + _BETA * unlearned.std(0) + smoother @ reward)
  np.testing.assert_allclose(
      independence.pessimistic_values(problem, 'shared_lcb', _BETA), shared,
      rtol=1e-3, atol=1e-3)


def test_the_example_prints_its_conclusion_and_draws_it(tmp_path, capsys):
  path = tmp_path / 'new folder' / 'independence.png'
  independence.run(str(path), num_draws=10)
  printed = capsys.readouterr().out
  assert 'Independent targets stay pessimistic.' in printed
  independent, *shared = [
      line for line in printed.splitlines() if 'above it in' in line]
  assert 'above it in   0% of all rooms' in independent
  assert len(shared) == 2
  assert all('before the unseen room in 100%' in line for line in shared)
  pixels = np.asarray(Image.open(path).convert('RGB')).astype(int)
  for color in plots.COLORS[:3]:
    wanted = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
    assert (abs(pixels - wanted).max(-1) < 3).sum() > 100
