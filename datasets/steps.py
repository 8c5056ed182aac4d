"""Steps of episodes as flat columns, and transitions made of them."""

from typing import NamedTuple

from acme import types
import numpy as np


class Steps(NamedTuple):
  """A dataset of episodes, one after the other, in the form of RLDS.

  The action, reward and discount of a step belong to the action taken in it.
  An episode's last step holds its final observation: no transition starts in
  it. `is_terminal` marks the last step of an episode that really ended; a last
  step without it was cut off by a time limit or by the end of the recording.

  Attributes:
    observation: `[T, O]` float32.
    action: `[T, A]` float32.
    reward: `[T]` float32, in the environment's own unit.
    discount: `[T]` float32, 0 where the action ends the episode.
    is_first: `[T]` bool.
    is_last: `[T]` bool.
    is_terminal: `[T]` bool.
  """
  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  is_first: np.ndarray
  is_last: np.ndarray
  is_terminal: np.ndarray


# By field: 2 for vectors, 1 for scalars.
RANKS = {name: 2 if name in ('observation', 'action') else 1
         for name in Steps._fields}


def to_transitions(steps: Steps) -> types.Transition:
  """Pairs each step with the one after it in its episode.

  Args:
    steps: T steps.

  Returns:
    One transition for each step that is not its episode's last, see
    `pair_rows`.

  Raises:
    ValueError: if there is no such step.
  """
  ends = np.append(steps.is_terminal[1:], False)
  discount = np.where(ends, np.float32(0), steps.discount)
  return pair_rows(
      steps.observation, steps.action, steps.reward, discount, steps.is_last)


def pair_rows(
    observation: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    discount: np.ndarray,
    is_last: np.ndarray,
) -> types.Transition:
  """Pairs each row with the following row of the file.

  This is how D4RL's Q-learning form and the reference read rows (the MSG
  specification, section 4.1): the next observation and action are those of the
  following row, except that the next action at an end (discount 0) is a copy of
  the action itself. The next observation at an end may be that of another
  episode; discount 0 masks it.

  Args:
    observation: `[T, O]` float32.
    action: `[T, A]` float32.
    reward: `[T]` float32.
    discount: `[T]` float32.
    is_last: `[T]` bool, rows in which no transition starts. The last row never
      starts one.

  Returns:
    A transition with the columns `[K, ...]`, K <= T - 1, float32, contiguous,
    and `extras={'next_action': [K, A]}`.

  Raises:
    ValueError: if no row starts a transition.
  """
  start = np.flatnonzero(~is_last[:-1])
  if not start.size:
    raise ValueError(
        f'there is no transition in {len(is_last)} steps: each of them is the '
        'last of its episode, or of the data. A transition needs two steps in '
        'a row of one episode.')
  following = start + 1
  discount = discount[start]
  next_action = np.take(action, following, axis=0)
  end = np.flatnonzero(discount == 0)
  next_action[end] = action[start[end]]
  return types.Transition(
      observation=np.take(observation, start, axis=0),
      action=np.take(action, start, axis=0),
      reward=reward[start],
      discount=discount,
      next_observation=np.take(observation, following, axis=0),
      extras={'next_action': next_action})
