"""Options on data: which episodes, which rewards, how many steps."""

import dataclasses
import math
import re
from typing import Iterable, List, NamedTuple, Optional

import numpy as np

from . import rewards
from . import steps as steps_lib

# An episode's number, or at most 100%.
_BOUND = r'(\d+|\d?\d%|100%)?'
_SPLIT = re.compile(rf'\[{_BOUND}:{_BOUND}\]')

# Steps of an n-step return; the time to make transitions grows with them.
_MOST_STEPS = 1000

# More episodes than any dataset has; a multiple of 100.
_MAX_EPISODES = 10**18


@dataclasses.dataclass(frozen=True)
class DataOptions:
  """How a dataset is changed before a learner gets it.

  The options on episodes apply in the order in which they are listed here. The
  return of an episode is the sum of its rewards before the transform.

  Attributes:
    reward_transform: one of `rewards.NAMES`; docs/msg.md 8.2.
    split: a range of episodes, in their order: '[:80%]', '[80%:]',
      '[20%:40%]', or by number, '[:100]', '[100:200]'. Ranges that meet at a
      boundary share no episode and omit none.
    num_episodes: use only the first `num_episodes` episodes.
    top_fraction: use only this fraction of the episodes, in (0, 1], those with
      the highest returns, rounded up; of equal returns the first.
    n_step: number of steps that a transition spans; see
      `steps.to_transitions`. At most 1,000.

  Raises:
    ValueError: if an option is not valid.
  """
  reward_transform: str = 'auto'
  split: Optional[str] = None
  num_episodes: Optional[int] = None
  top_fraction: Optional[float] = None
  n_step: int = 1

  def __post_init__(self):
    rewards.resolve(self.reward_transform, '')
    if self.split is not None:
      empty = [start >= stop for start, stop in (
          _split_range(self.split, total) for total in (1, _MAX_EPISODES))]
      if all(empty):
        raise ValueError(
            f'split={self.split!r} holds no episode; choose a range that ends '
            'after its start.')
    if self.num_episodes is not None and self.num_episodes < 1:
      raise ValueError(
          f'num_episodes={self.num_episodes}: it must be at least 1, or None '
          'for all episodes.')
    if self.top_fraction is not None and not 0 < self.top_fraction <= 1:
      raise ValueError(
          f'top_fraction={self.top_fraction}: it must lie in (0, 1], or be '
          'None for all episodes.')
    if not 1 <= self.n_step <= _MOST_STEPS:
      raise ValueError(
          f'n_step={self.n_step}: it must be at least 1, and at most '
          f'{_MOST_STEPS:,}.')

  @property
  def selects_episodes(self) -> bool:
    """Whether an option may leave episodes out."""
    return any(option is not None for option in (
        self.split, self.num_episodes, self.top_fraction))


class Episodes(NamedTuple):
  """Returns and lengths of E episodes.

  Attributes:
    returns: `[E]` float64, the undiscounted sums of the rewards.
    lengths: `[E]` int64, in steps, including the final observation.
  """
  returns: np.ndarray
  lengths: np.ndarray


def summarise(
    blocks: Iterable[steps_lib.Steps], limit: Optional[int] = None) -> Episodes:
  """Returns the returns and lengths of the episodes in one pass.

  Args:
    blocks: consecutive steps, see `steps.Source`. The result does not depend on
      where blocks begin and end.
    limit: stop reading after this many episodes.
  """
  returns: List[np.ndarray] = [np.zeros(0)]
  lengths: List[np.ndarray] = [np.zeros(0, np.int64)]
  open_return, open_length = 0., 0  # The episode that continues.
  count = 0
  for steps in blocks:
    # `bincount` adds in order, starting with the open episode's sum.
    index = np.append(0, np.cumsum(steps.is_last[:-1]))
    sums = np.bincount(
        np.append(0, index), weights=np.append(open_return, steps.reward))
    sizes = np.bincount(index)
    sizes[0] += open_length
    complete = int(np.count_nonzero(steps.is_last))
    returns.append(sums[:complete])
    lengths.append(sizes[:complete])
    open_return, open_length = (
        (sums[complete], sizes[complete]) if complete < len(sums) else (0., 0))
    count += complete
    if limit is not None and count >= limit:
      break
  return Episodes(
      np.concatenate(returns)[:limit], np.concatenate(lengths)[:limit])


def choose(options: DataOptions, episodes: Episodes) -> np.ndarray:
  """Returns the indices of the episodes to use, in ascending order.

  Raises:
    ValueError: if there are fewer episodes than requested, or none is left.
  """
  total = len(episodes.returns)
  chosen = np.arange(total)
  if options.split is not None:
    start, stop = _split_range(options.split, total)
    if start >= stop or stop > total:
      raise ValueError(
          f'split={options.split!r} means the episodes {start} to {stop} '
          f'(exclusive) of {total}; choose a range that contains an episode '
          'and ends within the dataset.')
    chosen = chosen[start:stop]
  if options.num_episodes is not None:
    if options.num_episodes > len(chosen):
      raise ValueError(
          f'num_episodes={options.num_episodes}, but there are only '
          f'{len(chosen)} episodes'
          f'{" in split=" + options.split if options.split else ""}.')
    chosen = chosen[:options.num_episodes]
  if options.top_fraction is not None:
    # A rounding error, as in 0.1 * 30, must not add an episode.
    number = max(1, math.ceil(options.top_fraction * len(chosen) - 1e-9))
    best = np.argsort(-episodes.returns[chosen], kind='stable')[:number]
    chosen = chosen[np.sort(best)]
  return chosen


def _split_range(split: str, total: int) -> list[int]:
  """Returns the first episode of a split and the one after its last."""
  match = _SPLIT.fullmatch(split)
  if not match:
    raise ValueError(
        f'split={split!r}: expected a range of episodes, such as '
        "'[:80%]', '[80%:]', '[:100]' or '[100:200]'.")
  return [
      int(bound[:-1]) * total // 100 if bound.endswith('%') else int(bound)
      for bound in (match[1] or '0', match[2] or str(total))]
