"""Demonstrates on a small MDP why targets must be independent.

`python -m acme_msg.experiments.independence` prints and draws the result; see
docs/msg.md 3.2 and 3.5 for the two kinds of targets.

The MDP is a corridor of rooms. In each room the agent chooses a number in
[-1, 1]. A negative number leaves the corridor, which ends the episode; another
number leads into the next room. The data holds one small action of each kind in
each room except the last, which the data enters but in which it has no action.
An ensemble of critics evaluates a policy that takes the same action in every
room. Optimism appears for actions more negative than those of the data.

Critics are in the linear regime of the paper's analysis. Members share random
ReLU features and differ in their initial weights. Fitting a member to targets
moves it to the nearest weights that fit them, as gradient descent does. The
rewards are such that the true values lie in the span of the data's features, so
that the mean over many members is correct, and every other part of an estimate
is uncertainty.

Members extrapolate to the policy's action: a member's value there is about 1.8
times its value of the data's leaving action, minus 0.8 times its value of the
data's walking action. Targets that share a lower confidence bound lower the
value of the walking action if the next room is uncertain, and the minus sign
turns this into a value *above* the truth. The excess grows with the targets'
pessimism, and its sign alternates from room to room. With independent targets
each member propagates its own error; the spread over members does not depend on
the sign of the errors.
"""

if __name__ == '__main__':
  from ..launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import functools
from typing import NamedTuple

from absl import app
from absl import flags
import jax
import jax.numpy as jnp
from matplotlib import figure as figure_lib
import numpy as np

from . import plots
from .. import command_help
from ..agents import sharding
from ..agents.msg import losses

_OUTPUT = flags.DEFINE_string(
    'output', 'runs/independence.png', 'Picture to write.')

NUM_ROOMS = 6
DATA_ACTIONS = (-0.25, 0.25)
POLICY_ACTION = -0.75
METHODS = ('independent', 'shared_lcb', 'shared_min')

_BETA = -2.
_DISCOUNT = 0.99
_NUM_MEMBERS = 64
_NUM_FEATURES = 64
_SHARD = sharding.Shard(1, _NUM_MEMBERS, 'members')
# Values are constant once those of the last room have reached the first room.
_NUM_ITERATIONS = 2 * NUM_ROOMS


class Problem(NamedTuple):
  """A corridor of H rooms, B transitions from it, and N critics to fit.

  Attributes:
    reward: rewards, `[B]`.
    discount: zero where the episode ends, else one, `[B]`.
    next_room: index of the next room, `[B]`.
    true_values: true values of the policy's action in each room, `[H]`.
    prior_at_data: initial values of the members at the data's actions,
      `[N, B]`.
    prior_at_policy: initial values of the members at the policy's action in
      each room, `[N, H]`.
    smoother: weight of each target in the values of the policy's actions,
      `[H, B]`; the paper's matrix of kernels between the two.
  """
  reward: jax.Array
  discount: jax.Array
  next_room: jax.Array
  true_values: jax.Array
  prior_at_data: jax.Array
  prior_at_policy: jax.Array
  smoother: jax.Array


def make_problem(key: jax.Array, policy_action: jax.Array) -> Problem:
  """Draws features, rewards and initial weights.

  The policy takes the action `policy_action`, `[]`, in [-1, 1], in all rooms.
  """
  features_key, values_key, weights_key = jax.random.split(key, 3)
  slope, offset = jax.random.normal(features_key, (2, _NUM_FEATURES))

  def features(room, action):
    """Returns random ReLU features, separate for each room, `[X, F]`."""
    hidden = jax.nn.relu(action[:, None] * slope + offset)
    hidden *= jnp.sqrt(2 / _NUM_FEATURES)
    in_room = jax.nn.one_hot(room, NUM_ROOMS)
    return (in_room[:, :, None] * hidden[:, None]).reshape(len(room), -1)

  def continues(room, action):
    return jnp.float32((action >= 0) & (room < NUM_ROOMS - 1))

  def next_room(room):
    return jnp.minimum(room + 1, NUM_ROOMS - 1)

  room = jnp.repeat(jnp.arange(NUM_ROOMS - 1), len(DATA_ACTIONS))
  action = jnp.tile(jnp.array(DATA_ACTIONS), NUM_ROOMS - 1)
  rooms = jnp.arange(NUM_ROOMS)
  policy_actions = jnp.full(NUM_ROOMS, policy_action)
  at_data = features(room, action)
  at_policy = features(rooms, policy_actions)
  fit = jnp.linalg.pinv(at_data)
  true_weights = fit @ jax.random.normal(values_key, room.shape)

  def reward(room, action):
    """Returns rewards for which `features @ true_weights` are true values."""
    next_values = features(next_room(room), jnp.full(room.shape, policy_action))
    return (features(room, action) - _DISCOUNT
            * continues(room, action)[:, None] * next_values) @ true_weights

  transitions = (continues(rooms, policy_actions)[:, None]
                 * jax.nn.one_hot(next_room(rooms), NUM_ROOMS))
  weights = jax.random.normal(weights_key, (_NUM_MEMBERS, at_data.shape[1]))
  return Problem(
      reward=reward(room, action),
      discount=continues(room, action),
      next_room=next_room(room),
      true_values=jnp.linalg.solve(
          jnp.eye(NUM_ROOMS) - _DISCOUNT * transitions,
          reward(rooms, policy_actions)),
      prior_at_data=weights @ at_data.T,
      prior_at_policy=weights @ at_policy.T,
      smoother=at_policy @ fit)


def pessimistic_values(
    problem: Problem, method: str, beta: float) -> jax.Array:
  """Runs fitted Q evaluation and computes the policy objective from it.

  Returns the lower confidence bound (docs/msg.md 3.8) of the policy's action in
  each room or, for 'shared_min', the minimum over members, `[H]`. `method` is a
  `td_target_method` of MSG.
  """
  def fit(_, q):
    targets = losses.shared_td_target(
        losses.td_target(q[:, problem.next_room, None], problem.reward,
                         problem.discount, _DISCOUNT),
        method, beta, 0, _SHARD)
    return problem.prior_at_policy + (
        targets - problem.prior_at_data) @ problem.smoother.T

  q = jax.lax.fori_loop(0, _NUM_ITERATIONS, fit, problem.prior_at_policy)
  return losses.policy_objective(
      q, losses.ensemble_moments(q, _SHARD), method, beta, _SHARD)


@functools.partial(jax.jit, static_argnames=('method', 'num_draws'))
def excess(policy_actions: jax.Array, method: str, beta: float,
           num_draws: int, seed: int = 0) -> jax.Array:
  """Computes pessimistic values minus true values.

  Args:
    policy_actions: actions of P policies, `[P]`.
    method: a `td_target_method` of MSG.
    beta: coefficient of the standard deviation.
    num_draws: E, the number of random problems, the same for all policies.
    seed: seed of the problems.

  Returns:
    Estimate minus truth, `[P, E, H]`; positive values are optimistic.
  """
  keys = jax.random.split(jax.random.PRNGKey(seed), num_draws)

  def one(key, policy_action):
    problem = make_problem(key, policy_action)
    return pessimistic_values(problem, method, beta) - problem.true_values

  return jax.lax.map(
      lambda action: jax.vmap(one, (0, None))(keys, action), policy_actions)


def is_above(values: np.ndarray) -> np.ndarray:
  """Returns whether excesses are positive by more than rounding errors."""
  return values > 1e-2


def draw(policy_actions: np.ndarray, excesses: dict[str, np.ndarray],
         output_png: str) -> None:
  """Draws excesses by room, and the share of positive excesses by policy.

  `excesses` are results of `excess` by method, each `[P, E, H]`, for policies
  `[P]` that include `POLICY_ACTION`.
  """
  shown = list(policy_actions).index(POLICY_ACTION)
  figure = figure_lib.Figure(figsize=(10, 4.6), layout='constrained')
  by_room, by_action = figure.subplots(1, 2)
  rooms = np.arange(1, NUM_ROOMS + 1)
  for i, (method, values) in enumerate(excesses.items()):
    style = dict(color=plots.COLORS[i], marker='os^'[i], markersize=5,
                 linewidth=1.3, label=method)
    low, median, high = np.quantile(values[shown], [.1, .5, .9], axis=0)
    # Shift each method's bars, which would hide each other otherwise.
    by_room.errorbar(rooms + 0.12 * (i - 1), median,
                     [median - low, high - median], capsize=3, **style)
    by_action.plot(
        policy_actions, 100 * is_above(values).mean((1, 2)), **style)
  limit = 1.1 * max(abs(bound) for bound in by_room.get_ylim())
  by_room.set(
      ylim=(-limit, limit), ylabel='estimate minus true value',
      xlabel=f'room (nothing was tried in room {NUM_ROOMS})',
      title=f'Policy that takes {POLICY_ACTION} in every room')
  by_room.axhspan(0, limit, color='0.95', zorder=0)
  for height, side in ((0.97, 'above the truth'), (0.06, 'below the truth')):
    by_room.text(0.98, height, side, transform=by_room.transAxes, ha='right',
                 va='top', color='0.4')
  by_room.legend(
      frameon=False, loc='upper left', alignment='left',
      title='median; bars from 10% to 90% of the draws',
      title_fontsize='small', fontsize='small')
  for action in DATA_ACTIONS:
    by_action.axvline(action, color='0.6', linestyle='--', linewidth=1)
  by_action.text(
      np.mean(DATA_ACTIONS), 0.97, "the data's\nactions", ha='center',
      va='top', transform=by_action.get_xaxis_transform(), color='0.4')
  by_action.set(
      xlabel="the policy's action (below zero: leaves)", title='All policies',
      ylabel='rooms with an estimate above the truth (%)')
  for axes in (by_room, by_action):
    plots.add_grid(axes)
  plots.save(figure, output_png)


def run(output_png: str, num_draws: int = 100) -> None:
  """Computes the excesses, prints the conclusion and draws the picture."""
  actions = np.linspace(-1, 1, 17, dtype=np.float32)
  shown = list(actions).index(POLICY_ACTION)
  excesses = {
      method: np.asarray(excess(actions, method, _BETA, num_draws))
      for method in METHODS}
  print(f'A policy that takes {POLICY_ACTION} in each of {NUM_ROOMS} rooms, '
        f'{_NUM_MEMBERS} members, beta={_BETA:g}, {num_draws} draws.\n'
        'How the pessimistic estimate compares with the true value:')
  for method, values in excesses.items():
    before_last = values[shown, :, -2]
    print(f'  {method:11s}  above it in {is_above(values[shown]).mean():4.0%} '
          f'of all rooms; before the unseen room in '
          f'{is_above(before_last).mean():4.0%}, by {before_last.mean():+.2f} '
          'on average')
  bolder = excess(actions, 'shared_lcb', 4 * _BETA, num_draws)
  draw(actions, excesses, output_png)
  print(f'''\
Independent targets stay pessimistic. Shared targets raise the estimate of every
second room before the unseen one, mostly above the true value, if the policy's
action is more negative than those of the data. More pessimism in shared_lcb,
beta={4 * _BETA:g}, raises the average before the unseen room to \
{bolder[shown, :, -2].mean():+.2f}.
Picture: {output_png}''')


def main(_):
  if not _OUTPUT.value.endswith('.png'):
    raise app.UsageError(
        f'--output={_OUTPUT.value!r} must name a picture, something.png.')
  run(_OUTPUT.value)


if __name__ == '__main__':
  command_help.run(main, {'Output': ('output',)})
