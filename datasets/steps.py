"""Steps of episodes as flat columns, and transitions made of them."""

import abc
import sys
from typing import Iterable, Iterator, NamedTuple

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


class Source(abc.ABC):
  """Where a dataset of episodes is read from; picklable.

  Attributes:
    name: what messages call it, a path or an identifier.
    kind: of which format it is, such as 'd4rl'.
  """
  name: str
  kind: str

  @abc.abstractmethod
  def blocks(self, num_rows: int = 100_000) -> Iterator[Steps]:
    """Reads the dataset block by block, in the order of the files.

    An episode may begin in one block and end in a later one.

    Args:
      num_rows: about how many steps a block is to have. Blocks are longer
        where a format is read by whole episodes, or chunks of a file.

    Yields:
      `[T, ...]` steps, validated. The last step of all is the last of its
      episode. Rewards are the environment's own.

    Raises:
      FileNotFoundError: if there is no such dataset.
      ValueError: if it is not valid, naming file, field, index, what was found
        and what to do.
    """

  def load_steps(self) -> Steps:
    """Reads the whole dataset at once; see `blocks`."""
    return concatenate(list(self.blocks(sys.maxsize)))


def concatenate(blocks: Iterable[Steps]) -> Steps:
  """Joins blocks of steps, `[T_i, ...]` each; a single one is not copied."""
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

  The next observation and action are those of the step n steps on, or of the
  episode's last step where that comes sooner, after m <= n steps. The reward is
  r_0 + g d_0 r_1 + ... + g^(m-1) d_0 ... d_(m-2) r_(m-1), and the discount is
  g^(m-1) d_0 ... d_(m-1), where g is the argument `discount` and d_k are those
  of the steps, 0 at an end: a learner multiplies by its own g once more.

  At an end (discount 0) the next action is a copy of the action itself, as in
  the reference (the MSG specification, section 4.1). The next observation there
  is masked by the discount.

  Args:
    steps: T steps.
    n_step: n, at least 1.
    discount: g, used only if n > 1.
    complete: whether no steps follow. Otherwise the transitions of the last n
      steps are left to the caller, who has to put these before what follows.

  Returns:
    A transition with the columns `[K, ...]`, K <= T, float32, contiguous, and
    `extras={'next_action': [K, A]}`. K may be 0.
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
