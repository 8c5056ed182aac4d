"""Ends training once a metric or the training state is no longer finite.

The compiled program checks both (`metrics.average`). Shapes: `S` gradient steps
of a learner step, `N` members.
"""

from typing import Any, List, Tuple

import jax
import jax.numpy as jnp
import numpy as np

# Metrics beyond this have diverged, too; their squares would soon be infinite.
LIMIT = 1e18
# Metrics to name first; that of the critics says which members have diverged.
_TELLING = ('critic_loss', 'actor_loss')
_MAX_NAMED = 8


class DivergenceError(ValueError):
  """Training has diverged; the message says what, where and what to try."""


def is_bad(x: jax.Array) -> jax.Array:
  """Returns where values of metrics are NaN, infinite or beyond `LIMIT`."""
  return ~(jnp.abs(x) <= LIMIT)


def is_finite(tree: Any) -> jax.Array:
  """Returns whether all floating-point numbers of a tree are finite, `[]`."""
  return jnp.all(jnp.asarray([
      jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)
      if jnp.issubdtype(x.dtype, jnp.floating)], dtype=bool))


def _among(bad: np.ndarray) -> str:
  """Returns ' of member 2', ' of members 0, 3' or '' for a mask `[N]`."""
  [members] = np.nonzero(bad)
  if not len(members):
    return ''
  if len(members) == len(bad) > 1:
    return f' of all {len(bad)} members'
  more = len(members) - _MAX_NAMED
  return (f' of member{"s" if len(members) > 1 else ""} ' +
          ', '.join(map(str, members[:_MAX_NAMED])) +
          (f' and {more} others' if more > 0 else '') +
          f' of {len(bad)}')


def _bad_metric(averages: Any) -> Tuple[int, str]:
  """Returns the first step with a bad metric, S if there is none, and what."""
  first = np.asarray(averages.first_bad)
  index = int(first.min())
  names = [name for name, i in zip(averages.sources, first) if i == index]
  name = next((n for n in _TELLING if n in names), names[0])
  members = averages.bad_members.get(name, np.zeros(0))
  return index, (
      f'{name}{_among(np.asarray(members))} is NaN, infinite or beyond '
      f'{LIMIT:g}')


def _bad_arrays(state: Any, is_split: Any, num_members: int) -> List[str]:
  """Returns names of arrays of a state `[N, ...]` that are not finite."""
  found = []
  for (path, x), split in zip(
      jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(is_split)):
    if not np.issubdtype(x.dtype, np.floating) or np.all(np.isfinite(x)):
      continue
    of_members = split and len(x) == num_members
    found.append(jax.tree_util.keystr(path).lstrip('.') + _among(
        ~np.isfinite(x).reshape(len(x), -1).all(axis=1) if of_members else
        np.zeros(0)))
  return found


def make_error(averages: Any, state: Any, is_split: Any, num_members: int,
               num_steps: int, remedy: str) -> DivergenceError:
  """Describes a learner step after which something is not finite.

  Args:
    averages: `metrics.Averages` of the learner step.
    state: the training state after it, with a field `steps`.
    is_split: which of its arrays hold members `[N, ...]`.
    num_members: N.
    num_steps: S.
    remedy: other options that may help.

  Returns:
    The error.
  """
  index, what = _bad_metric(averages)
  if index == num_steps:
    first, *others = _bad_arrays(state, is_split, num_members)
    also = f' (and {len(others)} other arrays)' if others else ''
    index, what = num_steps - 1, f'{first}{also} is NaN or infinite'
  step = int(state.steps) - num_steps + index + 1
  return DivergenceError(
      f'Training diverged in gradient step {step:,}: {what}. Nothing of this '
      'learner step is saved, and the same command would diverge there again. '
      f'Start a new run with {remedy}, and check the range of the dataset\'s '
      'rewards and observations.')
