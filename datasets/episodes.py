"""Helpers for sources that are read episode by episode, and in-memory episodes.

`to_episode` makes an `Episode` of nested arrays; `blocks` joins episodes to
validated `Steps`.
"""

import re
import sys
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from . import steps as steps_lib
from . import value_checks

# An episode of S steps: columns `[S, ...]` of any real type, named as the
# fields of `Steps` except `is_first` and `is_last`, which follow from S.
Episode = dict[str, np.ndarray]
# Names of the columns in messages.
NAMES = {name: name for name in steps_lib.LAYOUT}


def leaves(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
  """Yields the leaves of a nested structure in the order of flattening.

  The order is depth first, by the sorted keys of mappings and the indices of
  tuples. HDF5 groups that store tuples have the keys `_index_0`, ...

  Yields:
    The path of each leaf, such as 'observation/joints/angle', and the leaf.
  """
  if isinstance(tree, Mapping):
    # `_index_10` follows `_index_9`.
    for key in sorted(tree, key=lambda key: (
        (0, int(key[7:]), '') if isinstance(key, str)
        and re.fullmatch(r'_index_[0-9]{1,9}', key) else (1, 0, str(key)))):
      yield from leaves(f'{name}/{key}', tree[key])
  elif isinstance(tree, tuple):
    for index, value in enumerate(tree):
      yield from leaves(f'{name}/{index}', value)
  else:
    yield name, tree


def as_array(source: str, name: str, value: Any) -> np.ndarray:
  """Returns a column as an array; raises ValueError, naming it, if it is none.

  The type of its values is not checked.
  """
  try:
    column = np.asarray(value)
  except Exception as error:  # Whatever the object's own code raises.
    raise ValueError(
        f'{source}: field {name!r} is not an array ({error}); give an array '
        'with one row per step.') from error
  if np.ma.is_masked(value):
    raise ValueError(
        f'{source}: field {name!r} has masked values; leave out the steps '
        'concerned.')
  return column


def flatten(source: str, name: str, tree: Any) -> np.ndarray:
  """Flattens nested columns to one, in the order of `leaves`.

  Args:
    source: name of the dataset, for messages.
    name: name of the structure.
    tree: nested columns `[S, ...]`, flattened row-major.

  Returns:
    `[S, size]`, of the columns' common type.

  Raises:
    ValueError: if a column is an image or a string, or their lengths differ.
  """
  columns = []
  try:
    found = list(leaves(name, tree))
  except RecursionError as error:
    raise ValueError(
        f'{source}: field {name!r} contains itself, or is nested too deep; '
        'give arrays, or mappings and tuples of arrays.') from error
  for path, column in found:
    column = as_array(source, path, column)
    value_checks.check_numbers(source, path, column.shape, column.dtype)
    columns.append(column.reshape(len(column), int(
        np.prod(column.shape[1:]))))
    if len(column) != len(columns[0]):
      raise ValueError(
          f'{source}: field {path!r} has {len(column)} rows, but others of '
          f'{name!r} have {len(columns[0])}; each needs one row per step.')
  if not columns:
    raise ValueError(f'{source}: field {name!r} is an empty structure.')
  return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def blocks(
    source: str,
    episodes: Iterable[Episode],
    num_rows: int,
    names: Mapping[str, str] = NAMES,  # pylint: disable=dangerous-default-value
) -> Iterator[steps_lib.Steps]:
  """Joins episodes to validated blocks of steps.

  Args:
    source: name of the dataset, for messages.
    episodes: the episodes. A column `is_last`, `[S]`, splits one further.
    num_rows: least number of steps per block; blocks end with an episode.
    names: names of the columns in messages.

  Yields:
    Steps `[T, ...]`.

  Raises:
    ValueError: if a value is not valid, naming the episode, counted from 0, the
      field, and the index in the episode.
  """
  watched = [names[name] for name in ('observation', 'action', 'reward')]
  watch = value_checks.Watch(source, *watched)
  number = 0
  sizes = None
  for members in group(episodes, num_rows):
    for index, episode in enumerate(members, number):
      found = {name: episode[name].shape[1] for name in (
          'observation', 'action')}
      sizes = sizes or found
      if found != sizes:
        raise ValueError(
            f'{source}: episode {index}: observations and actions have the '
            f'sizes {found}, but {sizes} before; all need the same.')
    try:
      steps = _join(source, members, names)
      watch.check(*steps[:3])
    except ValueError:
      for index, episode in enumerate(members, number):  # Find the episode.
        place = f'{source}: episode {index}'
        steps = _join(place, [episode], names)
        value_checks.Watch(place, *watched).check(*steps[:3])
      raise
    yield steps
    number += len(members)
  watch.finish()


def _join(
    source: str, members: Sequence[Episode], names: Mapping[str, str],
) -> steps_lib.Steps:
  """Returns consecutive episodes as steps with valid values."""
  columns = {
      name: value_checks.convert(
          source, names[name],
          np.concatenate([episode[name] for episode in members]),
          steps_lib.LAYOUT[name])
      for name in members[0]}
  is_last = columns.pop(
      'is_last', np.zeros(len(columns['reward']), bool)).copy()
  is_last[np.cumsum([len(episode['reward']) for episode in members]) - 1] = True
  bad = np.flatnonzero(columns['is_terminal'] & ~is_last)
  if bad.size:
    raise ValueError(
        f'{source}: field {names["is_terminal"]!r} is set at [{bad[0]}], which '
        'is not the last step of the episode. Make the dataset again.')
  return steps_lib.Steps(
      is_first=np.append(True, is_last[:-1]), is_last=is_last, **columns)


def group(
    episodes: Iterable[Episode], num_rows: int) -> Iterator[list[Episode]]:
  """Yields lists of consecutive episodes of `num_rows` steps or more."""
  members, rows = [], 0
  for episode in episodes:
    members.append(episode)
    rows += len(episode['reward'])
    if rows >= num_rows:
      yield members
      members, rows = [], 0
  if members:
    yield members


class EpisodesSource(steps_lib.Source):
  """Episodes in memory; see `from_episodes`."""
  kind = 'episodes'

  def __init__(self, steps: steps_lib.Steps, name: str):
    super().__init__(name)
    self._steps = steps

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class."""
    for start in range(0, len(self._steps.reward), num_rows):
      yield self._steps.rows(slice(start, start + num_rows))


def from_episodes(
    episodes: Iterable[Mapping[str, Any]], name: str = 'episodes',
) -> EpisodesSource:
  """Makes a source of episodes in memory.

  Args:
    episodes: one mapping per episode of L actions, with the keys
      'observations': `[L + 1, ...]`, or `[L, ...]` if the final one is not
        known: an array, or nested mappings and tuples of arrays, which are
        flattened in the order of `leaves`;
      'actions': `[L, ...]` in [-1, 1], an array or nested arrays;
      'rewards': `[L]`;
      'terminated': whether the last action, and not a limit, ended the episode:
        a bool, or `[L]` of which only the last may be set.
      Other keys are ignored. An episode that did not terminate and has no final
      observation loses its last transition.
    name: name of the dataset, for messages.

  Returns:
    A picklable source that holds the data in memory.

  Raises:
    ValueError: if an episode is not valid, naming the episode, counted from 0,
      the field, the index, what was found and what to do.
  """
  names = dict(
      observation='observations', action='actions', reward='rewards',
      discount='discount', is_terminal='terminated', is_last='is_last')
  try:
    episodes = iter(episodes)
  except TypeError as error:
    raise ValueError(
        f'{name}: found {type(episodes).__name__}, expected a list of '
        'episodes.') from error
  converted = (
      to_episode(f'{name}: episode {index}', episode)
      for index, episode in enumerate(episodes))
  whole = list(blocks(name, converted, sys.maxsize, names))
  if not whole:
    raise ValueError(f'{name}: there are no episodes; give at least one.')
  return EpisodesSource(whole[0], name)


def to_episode(
    place: str, episode: Mapping[str, Any], terminated: str = 'terminated',
) -> Episode:
  """Checks and flattens an episode, and adds its last step.

  Args:
    place: name of the episode, for messages.
    episode: see `from_episodes`.
    terminated: name of the field 'terminated' in this episode.

  Returns:
    An episode of L + 1 steps, or of L if it did not terminate and its final
    observation is not known.

  Raises:
    ValueError: if the episode is not valid.
  """
  if not isinstance(episode, Mapping):
    raise ValueError(
        f'{place}: found {type(episode).__name__}, expected a mapping with the '
        'arrays of the episode.')
  fields = ('observations', 'actions', 'rewards', terminated)
  value_checks.check_present(place, fields, episode, 'An episode')
  observation, action = (
      flatten(place, field, episode[field])
      for field in ('observations', 'actions'))
  reward = as_array(place, 'rewards', episode['rewards'])
  value_checks.check_layout(place, {'rewards': reward},
                            {'rewards': value_checks.SCALAR})
  length = len(reward)
  if len(action) != length or len(observation) not in (length, length + 1):
    raise ValueError(
        f'{place}: {len(observation)} observations, {len(action)} actions and '
        f'{length} rewards; for L actions there must be L rewards, and L + 1 '
        'observations (or L if the final one is not known).')
  ends = as_array(place, terminated, episode[terminated])
  value_checks.check_numbers(place, terminated, (1, *ends.shape), ends.dtype)
  if ends.shape not in ((), (length,), (length, 1)):
    raise ValueError(
        f'{place}: field {terminated!r} has the shape {ends.shape}; expected a '
        f'bool, or one per action, ({length},).')
  ends = value_checks.convert(place, terminated, ends, value_checks.FLAG)
  if ends[:-1].any():
    raise ValueError(
        f'{place}: field {terminated!r} is set at '
        f'[{np.flatnonzero(ends)[0]}], and the episode continues after it; '
        'split it there.')
  reward = reward.reshape(-1)
  if len(observation) == length and ends[-1]:
    # The observation after an end is not used.
    observation = np.append(observation, np.zeros_like(observation[:1]), axis=0)
  discount = np.ones(len(observation), np.float32)
  is_terminal = np.zeros(len(observation), bool)
  if len(observation) > length:  # The last step, in which no action was taken.
    # The next action of the last transition is not known; use a copy.
    action = np.concatenate([action, action[-1:]])
    reward = np.append(reward, np.zeros(1, reward.dtype))
    is_terminal[-1] = ends[-1]
    discount[-2] = not ends[-1]
  return dict(observation=observation, action=action, reward=reward,
              discount=discount, is_terminal=is_terminal)
