"""Steps of episodes as flat columns, and transitions made of them."""

import abc
import sys
from typing import Any, Iterable, Iterator, Mapping, NamedTuple

from acme import types
import numpy as np

from . import value_checks


class Steps(NamedTuple):
  """Consecutive episodes in the form of RLDS; docs/msg.md 8.1.

  The reward and discount of a step belong to the action of the same step. The
  last step of an episode holds its final observation; no transition starts
  there. `is_terminal` marks the last step of an episode that terminated. A last
  step without it was truncated by a time limit or the end of the recording.

  Attributes:
    observation: `[T, O]` float32.
    action: `[T, A]` float32.
    reward: `[T]` float32, as the environment gave it.
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

  def rows(self, index: slice | np.ndarray) -> 'Steps':
    """Returns the rows that a slice or a mask selects."""
    return Steps(*(column[index] for column in self))


# See `value_checks`.
LAYOUT = {
    'observation': value_checks.VECTOR, 'action': value_checks.VECTOR,
    'reward': value_checks.SCALAR, 'discount': value_checks.SCALAR,
    'is_first': value_checks.FLAG, 'is_last': value_checks.FLAG,
    'is_terminal': value_checks.FLAG}


class Source(abc.ABC):
  """A dataset that can be read; picklable.

  Attributes:
    name: a path or an identifier, for messages.
    kind: the format, such as 'd4rl'.
    options: what else decides the steps that are read, as plain JSON values.
  """
  kind: str
  options: Mapping[str, Any] = {}

  def __init__(self, name: str):
    """Initialises; nothing is read."""
    self.name = name

  @abc.abstractmethod
  def blocks(self, num_rows: int = 100_000) -> Iterator[Steps]:
    """Reads the dataset block by block, in its stored order.

    An episode may begin in one block and end in a later one.

    Args:
      num_rows: approximate number of steps per block. Blocks are longer where
        a format is read by whole episodes or by chunks of a file.

    Yields:
      Validated steps `[T, ...]`. The dataset's last step has `is_last`. Rewards
      are those of the environment.

    Raises:
      FileNotFoundError: if there is no such dataset.
      ValueError: if it is not valid, naming file, field, index, what was found
        and what to do.
    """

  def load_steps(self) -> Steps:
    """Reads the whole dataset at once; see `blocks`."""
    return concatenate(list(self.blocks(sys.maxsize)))


def concatenate(blocks: Iterable[Steps]) -> Steps:
  """Concatenates blocks `[T_i, ...]`; a single block is not copied."""
  blocks = list(blocks)
  if len(blocks) == 1:
    return blocks[0]
  return Steps(*(np.concatenate(columns) for columns in zip(*blocks)))


def to_transitions(
    steps: Steps,
    n_step: int = 1,
    discount: float = 1.,
    complete: bool = True,
) -> types.Transition:
  """Makes a transition of each step that is not its episode's last.

  The next observation and action are those of the step m steps later, where m
  is n or, near the end of an episode, the number of steps to its last one. The
  reward is r_0 + g d_0 r_1 + ... + g^(m-1) d_0 ... d_(m-2) r_(m-1), and the
  discount is g^(m-1) d_0 ... d_(m-1), where g is the argument `discount` and
  d_k are the discounts of the steps. The learner multiplies by its own discount
  once more.

  Where the discount is 0, the next action is a copy of the action, as in the
  reference implementation (docs/msg.md 8.1), and the next observation has no
  effect.

  Args:
    steps: T steps.
    n_step: n, at least 1.
    discount: g, used only if n > 1.
    complete: whether no steps follow. Otherwise there are no transitions of the
      last n steps; the caller must prepend these steps to the next block.

  Returns:
    A transition with contiguous float32 columns `[K, ...]`, 0 <= K <= T, and
    `extras={'next_action': [K, A]}`.
  """
  total = len(steps.is_last)
  ends = np.append(steps.is_terminal[1:], False)
  discounts = np.where(ends, np.float32(0), steps.discount)
  limit = max(total - (1 if complete else n_step), 0)
  start = np.flatnonzero(~steps.is_last[:limit])
  if n_step == 1:
    following = start + 1
    reward, remaining = steps.reward[start], discounts[start]
  else:
    last = np.append(np.flatnonzero(steps.is_last), total - 1)
    last = last[np.searchsorted(last, start)]
    following = np.minimum(start + n_step, last)
    reward = np.zeros(len(start), np.float32)
    weight = np.ones(len(start), np.float32)  # g^k d_0 ... d_(k-1)
    remaining = weight
    for k in range(n_step):
      row = np.minimum(start + k, total - 1)
      inside = start + k < following
      if not inside.any():  # All episodes are shorter.
        break
      reward += np.where(inside, weight * steps.reward[row], np.float32(0))
      remaining = np.where(inside, weight * discounts[row], remaining)
      weight = remaining * np.float32(discount)
  next_action = np.take(steps.action, following, axis=0)
  end = np.flatnonzero(remaining == 0)
  next_action[end] = steps.action[start[end]]
  return types.Transition(
      observation=np.take(steps.observation, start, axis=0),
      action=np.take(steps.action, start, axis=0),
      reward=reward,
      discount=remaining,
      next_observation=np.take(steps.observation, following, axis=0),
      extras={'next_action': next_action})
