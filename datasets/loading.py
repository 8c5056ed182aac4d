"""Loads datasets as transitions, as a whole or block by block."""

import itertools
from typing import Callable, Iterator

from absl import logging
from acme import types
import numpy as np

from . import data_options
from . import rewards
from . import steps as steps_lib


def load(
    source: steps_lib.Source,
    task_name: str = '',
    options: data_options.DataOptions = data_options.DataOptions(),
    discount: float = 0.99,
) -> types.Transition:
  """Returns a whole dataset as transitions; docs/msg.md 8.1.

  Args:
    source: the dataset.
    task_name: such as 'antmaze-large-diverse-v0'. It decides the automatic
      reward transform.
    options: which episodes, rewards and spans of steps.
    discount: discount of n-step returns; not used if `n_step` is 1.

  Returns:
    A transition with columns `[K, ...]`, float32, and
    `extras={'next_action': [K, A]}`; see `steps.to_transitions`.

  Raises:
    FileNotFoundError: if there is no such dataset.
    ValueError: if the dataset is not valid, naming file, field, index, what was
      found and what to do; or if it has fewer episodes than requested, or no
      transition.
  """
  steps = source.load_steps()
  whole, = _transitions(lambda: iter([steps]), task_name, options, discount)
  return whole


def transition_blocks(
    source: steps_lib.Source,
    task_name: str = '',
    options: data_options.DataOptions = data_options.DataOptions(),
    discount: float = 0.99,
    num_rows: int = 100_000,
) -> Iterator[types.Transition]:
  """Returns a dataset as blocks of transitions, in bounded memory.

  The dataset is read twice if `split`, `num_episodes`, `top_fraction` or the
  transform 'normalize_return' is set, because these depend on all episodes.

  Arguments and errors are those of `load`; `num_rows` is the approximate number
  of rows per block, see `Source.blocks`.

  Yields:
    Blocks `[K, ...]`, K > 0. Concatenated they equal what `load` returns, bit
    by bit.
  """
  return _transitions(
      lambda: source.blocks(num_rows), task_name, options, discount)


def _transitions(
    make_blocks: Callable[[], Iterator[steps_lib.Steps]],
    task_name: str,
    options: data_options.DataOptions,
    discount: float,
) -> Iterator[types.Transition]:
  """See `transition_blocks`; each call of `make_blocks` begins anew."""
  transform = rewards.resolve(options.reward_transform, task_name)
  logging.info('Rewards of %s: transform %r.', task_name or 'the data',
               transform)
  chosen, return_range = None, None
  if options.selects_episodes or transform == 'normalize_return':
    episodes = data_options.summarise(
        make_blocks(), None if options.split else options.num_episodes)
    chosen = data_options.choose(options, episodes)
    logging.info('Using %d of the episodes.', len(chosen))
    used = episodes.returns[chosen]
    return_range = (float(used.min()), float(used.max()))
  blocks = make_blocks()
  if options.selects_episodes:
    blocks = _keep_episodes(blocks, chosen)

  empty, steps = True, None
  for block in itertools.chain(blocks, [None]):
    if steps is not None:
      transitions = steps_lib.to_transitions(
          steps, options.n_step, discount, complete=block is None)
      if len(transitions.reward):
        empty = False
        yield transitions
    if block is not None:
      block = block._replace(
          reward=rewards.transform(
              block.reward, transform, task_name, return_range))
      # The transitions of the last steps also need the block that follows.
      steps = block if steps is None else steps_lib.concatenate(
          [steps.rows(slice(-options.n_step, None)), block])
  if empty:
    raise ValueError(
        'there is no transition in the data: each step is the last of its '
        'episode. A transition needs two consecutive steps of one episode.')


def _keep_episodes(
    blocks: Iterator[steps_lib.Steps], chosen: np.ndarray,
) -> Iterator[steps_lib.Steps]:
  """Yields the steps of the chosen episodes; stops reading after the last."""
  keep = np.zeros(chosen[-1] + 1, bool)
  keep[chosen] = True
  first = 0  # The episode in which the block begins.
  for steps in blocks:
    index = first + np.append(0, np.cumsum(steps.is_last[:-1]))
    rows = (index < len(keep)) & keep[np.minimum(index, len(keep) - 1)]
    if rows.all():
      yield steps
    elif rows.any():
      yield steps.rows(rows)
    first = index[-1] + int(steps.is_last[-1])
    if first >= len(keep):
      break
