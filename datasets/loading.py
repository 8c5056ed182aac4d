"""Named options on data: which episodes, which rewards, how many steps."""

import dataclasses
import itertools
import math
import re
from typing import Callable, Iterator, List, NamedTuple, Optional

from absl import logging
from acme import types
import numpy as np

from . import rewards
from . import steps as steps_lib

_SPLIT = re.compile(r'\[(\d+%?)?:(\d+%?)?\]')


@dataclasses.dataclass(frozen=True)
class DataOptions:
  """What is made of a dataset before a learner is given it.

  The options on episodes apply in the order in which they stand here. An
  episode is what its source marks as one; its return is the sum of all its
  rewards, before the transform.

  Attributes:
    reward_transform: one of `rewards.NAMES`.
    split: a part of the episodes, in their order: '[:80%]', '[80%:]',
      '[20%:40%]', or by number, '[:100]', '[100:200]'. Parts that meet at a
      boundary share no episode and leave none out.
    num_episodes: use this many episodes only, the first ones.
    top_fraction: use this fraction of the episodes only, in (0, 1], those of
      the highest return, rounded up to whole ones; of equal ones the first.
    n_step: how many steps a transition spans, see `steps.to_transitions`.
  """
  reward_transform: str = 'auto'
  split: Optional[str] = None
  num_episodes: Optional[int] = None
  top_fraction: Optional[float] = None
  n_step: int = 1

  def __post_init__(self):
    """Raises ValueError if an option is invalid."""
    rewards.resolve(self.reward_transform, '')
    if self.split is not None:
      _parse_split(self.split)
    if self.num_episodes is not None and self.num_episodes < 1:
      raise ValueError(
          f'num_episodes={self.num_episodes}: it must be at least 1, or None '
          'for all episodes.')
    if self.top_fraction is not None and not 0 < self.top_fraction <= 1:
      raise ValueError(
          f'top_fraction={self.top_fraction}: it must lie in (0, 1], or be '
          'None for all episodes.')
    if self.n_step < 1:
      raise ValueError(f'n_step={self.n_step}: it must be at least 1.')


class Episodes(NamedTuple):
  """What is known of the E episodes of a dataset.

  Attributes:
    returns: `[E]` float64, the undiscounted sums of their rewards.
    lengths: `[E]` int64, in steps, the final observation included.
  """
  returns: np.ndarray
  lengths: np.ndarray


def summarise(
    blocks: Iterator[steps_lib.Steps], limit: Optional[int] = None) -> Episodes:
  """Sums up the episodes of a dataset in one pass over it.

  Args:
    blocks: of steps, see `steps.Source`. The sums do not depend on where one
      block ends and another begins.
    limit: how many episodes are needed; the rest is not read.
  """
  returns: List[np.ndarray] = [np.zeros(0)]
  lengths: List[np.ndarray] = [np.zeros(0, np.int64)]
  so_far, rows = 0., 0  # Of the episode that the blocks end in.
  complete = 0
  for steps in blocks:
    # `bincount` adds in order, starting here with the sum so far.
    index = np.append(0, np.cumsum(steps.is_last[:-1]))
    sums = np.bincount(
        np.append(0, index), weights=np.append(so_far, steps.reward))
    counts = np.bincount(index)
    counts[0] += rows
    done = int(np.count_nonzero(steps.is_last))
    returns.append(sums[:done])
    lengths.append(counts[:done])
    so_far, rows = (
        (sums[done], counts[done]) if done < len(sums) else (0., 0))
    complete += done
    if limit is not None and complete >= limit:
      break
  return Episodes(
      np.concatenate(returns)[:limit], np.concatenate(lengths)[:limit])


def choose(options: DataOptions, episodes: Episodes) -> np.ndarray:
  """Returns the indices of the episodes to be used, in their order.

  Args:
    options: what to choose.
    episodes: E of them.

  Raises:
    ValueError: if there are fewer episodes than asked for, or none is left.
  """
  total = len(episodes.returns)
  chosen = np.arange(total)
  if options.split is not None:
    start, stop = (
        limit(total) for limit in _parse_split(options.split))
    if start >= stop or stop > total:
      raise ValueError(
          f'split={options.split!r} means the episodes {start} to {stop} (not '
          f'included) of {total}; there are none, or not so many.')
    chosen = chosen[start:stop]
  if options.num_episodes is not None:
    if options.num_episodes > len(chosen):
      raise ValueError(
          f'num_episodes={options.num_episodes}, but there are only '
          f'{len(chosen)} episodes'
          f'{" in split=" + options.split if options.split else ""}.')
    chosen = chosen[:options.num_episodes]
  if options.top_fraction is not None:
    # Rounding errors, as in 0.1 * 30, are not to add an episode.
    number = max(1, math.ceil(options.top_fraction * len(chosen) - 1e-9))
    best = np.argsort(-episodes.returns[chosen], kind='stable')[:number]
    chosen = chosen[np.sort(best)]
  return chosen


def load(
    source: steps_lib.Source,
    task_name: str = '',
    options: DataOptions = DataOptions(),
    discount: float = 0.99,
) -> types.Transition:
  """Reads a dataset as transitions, in one piece.

  Args:
    source: where it is read from.
    task_name: such as 'antmaze-large-diverse-v0'. It decides the automatic
      reward transform.
    options: what is made of the data.
    discount: of n-step returns; not used with `n_step=1`.

  Returns:
    A transition with the columns `[K, ...]`, float32, and
    `extras={'next_action': [K, A]}`; see `steps.to_transitions`.

  Raises:
    FileNotFoundError: if there is no such dataset.
    ValueError: if it is not valid, naming file, field, index, what was found
      and what to do; or has fewer episodes than asked for, or no transition.
  """
  steps = source.load_steps()
  whole, = _transitions(lambda: iter([steps]), task_name, options, discount)
  return whole


def transition_blocks(
    source: steps_lib.Source,
    task_name: str = '',
    options: DataOptions = DataOptions(),
    discount: float = 0.99,
    num_rows: int = 100_000,
) -> Iterator[types.Transition]:
  """Reads a dataset as transitions, block by block, in bounded memory.

  The dataset is read twice if its episodes have to be known before any is used,
  which `split`, `num_episodes`, `top_fraction` and the transform
  'normalize_return' ask for.

  Args:
    source: where it is read from.
    task_name: see `load`.
    options: what is made of the data.
    discount: of n-step returns; not used with `n_step=1`.
    num_rows: about how many rows a block is to have, see `Source.blocks`.

  Yields:
    Blocks `[K, ...]`, K > 0. Joined they are what `load` returns, bit by bit.

  Raises:
    FileNotFoundError: see `load`.
    ValueError: see `load`.
  """
  return _transitions(
      lambda: source.blocks(num_rows), task_name, options, discount)


def _transitions(
    make_blocks: Callable[[], Iterator[steps_lib.Steps]],
    task_name: str,
    options: DataOptions,
    discount: float,
) -> Iterator[types.Transition]:
  """See `transition_blocks`; `make_blocks` begins anew with each call."""
  transform = rewards.resolve(options.reward_transform, task_name)
  logging.info('Rewards of %s: transform %r.', task_name or 'the data',
               transform)
  selects = any(option is not None for option in (
      options.split, options.num_episodes, options.top_fraction))
  chosen, return_range = None, None
  if selects or transform == 'normalize_return':
    episodes = summarise(
        make_blocks(), None if options.split else options.num_episodes)
    chosen = choose(options, episodes)
    logging.info('Using %d of the episodes.', len(chosen))
    used = episodes.returns[chosen]
    return_range = (float(used.min()), float(used.max()))
  blocks = make_blocks()
  if selects:
    blocks = _of_episodes(blocks, chosen)

  empty = True
  steps = None
  for block in itertools.chain(blocks, [None]):
    if steps is not None:
      made = steps_lib.to_transitions(
          steps, options.n_step, discount, complete=block is None)
      if len(made.reward):
        empty = False
        yield made
    if block is not None:
      block = block._replace(
          reward=rewards.transform(
              block.reward, transform, task_name, return_range))
      # The last steps are still to be paired with what follows.
      steps = block if steps is None else steps_lib.concatenate(
          [steps_lib.Steps(*(c[-options.n_step:] for c in steps)), block])
  if empty:
    raise ValueError(
        'there is no transition in the data: each step is the last of its '
        'episode. A transition needs two steps in a row of one episode.')


def _of_episodes(
    blocks: Iterator[steps_lib.Steps], chosen: np.ndarray,
) -> Iterator[steps_lib.Steps]:
  """Yields the steps of the chosen episodes; reads no further than those."""
  keep = np.zeros(chosen[-1] + 1, bool)
  keep[chosen] = True
  first = 0  # The episode that a block begins in.
  for steps in blocks:
    index = first + np.append(0, np.cumsum(steps.is_last[:-1]))
    rows = (index < len(keep)) & keep[np.minimum(index, len(keep) - 1)]
    if rows.all():
      yield steps
    elif rows.any():
      yield steps_lib.Steps(*(column[rows] for column in steps))
    first = index[-1] + int(steps.is_last[-1])
    if first >= len(keep):
      break


def _parse_split(split: str):
  """Returns two functions of the number of episodes: first, and behind last."""
  match = _SPLIT.fullmatch(split)
  percents = [int(p[:-1]) for p in (match.groups() if match else ())
              if p and p.endswith('%')]
  if not match or any(p > 100 for p in percents):
    raise ValueError(
        f'split={split!r}: expected a part of the episodes, such as '
        "'[:80%]', '[80%:]', '[:100]' or '[100:200]'.")

  def limit(text: Optional[str], default: Callable[[int], int]):
    if text is None:
      return default
    if text.endswith('%'):
      return lambda total: int(text[:-1]) * total // 100
    return lambda total: int(text)

  start, stop = match.groups()
  return limit(start, lambda total: 0), limit(stop, lambda total: total)
