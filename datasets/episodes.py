"""Episodes one by one: flat columns, checks, and blocks of steps.

This is what the sources that are read by whole episodes share, and the source
of episodes of one's own.
"""

import sys
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from . import steps as steps_lib
from . import value_checks

# An episode of S steps: the columns `[S, ...]` of `Steps`, of any real type,
# but for `is_first` and `is_last`, which its length says.
Episode = dict[str, np.ndarray]
_COLUMNS = ('observation', 'action', 'reward', 'discount', 'is_terminal')
# What messages call them.
NAMES = {name: name for name in (*_COLUMNS, 'is_last')}


def leaves(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
  """Goes through a nested structure in the order in which it is flattened.

  That is: by the sorted keys of mappings and the order of sequences, depth
  first. HDF5 groups in the place of tuples have the keys `_index_0`, ...

  Args:
    name: of the structure.
    tree: mappings and tuples of anything.

  Yields:
    The path of each leaf, such as 'observation/joints/angle', and the leaf.
  """
  if isinstance(tree, Mapping):
    # `_index_10` comes behind `_index_9`.
    for key in sorted(tree, key=lambda key: (
        (0, int(key[7:]), '') if key.startswith('_index_')
        and key[7:].isdigit() else (1, 0, key))):
      yield from leaves(f'{name}/{key}', tree[key])
  elif isinstance(tree, tuple):
    for index, value in enumerate(tree):
      yield from leaves(f'{name}/{index}', value)
  else:
    yield name, tree


def check_leaf(source: str, name: str, shape: Sequence[Any], dtype: np.dtype):
  """Refuses what cannot be part of a flat vector.

  Args:
    source: what the leaf was found in.
    name: its path.
    shape: steps first.
    dtype: of its numbers.

  Raises:
    ValueError: if it holds strings or images: three dimensions per step, or two
      of type uint8.
  """
  if dtype.kind not in 'fiub':
    raise ValueError(
        f'{source}: field {name!r} has the type {dtype}: strings, and what is '
        'encoded as such (images), cannot be flattened to numbers. Leave it '
        'out of the data.')
  if len(shape) > 3 or (len(shape) == 3 and dtype == np.uint8):
    raise ValueError(
        f'{source}: field {name!r} has the shape {tuple(shape)} and the type '
        f'{dtype} (steps first): images are not supported. Leave it out of the '
        'data.')
  if not shape:
    raise ValueError(
        f'{source}: field {name!r} is a scalar; expected one row per step.')


def flatten(source: str, name: str, tree: Any) -> np.ndarray:
  """Flattens nested columns to one, in the order of `leaves`.

  Args:
    source: what the structure was found in.
    name: of the structure.
    tree: of columns `[S, ...]`, row-major; a scalar per step is one number.

  Returns:
    `[S, size]`, of a type that all columns fit in.

  Raises:
    ValueError: if a column is an image or a string, or their lengths differ.
  """
  columns = []
  for path, column in leaves(name, tree):
    column = np.asarray(column)
    check_leaf(source, path, column.shape, column.dtype)
    columns.append(column.reshape(len(column), int(
        np.prod(column.shape[1:]))))
    if len(column) != len(columns[0]):
      raise ValueError(
          f'{source}: field {path!r} has {len(column)} rows, but others of '
          f'{name!r} have {len(columns[0])}; each needs one row per step.')
  if not columns:
    raise ValueError(f'{source}: field {name!r} is an empty structure.')
  return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def with_final_step(
    observation: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    terminated: bool,
) -> Episode:
  """Makes an episode's last step, in which no action was taken.

  Args:
    observation: `[L + 1, O]`, the final one included.
    action: `[L, A]`. The last step gets a copy of the last one: it is the next
      action of the last transition, where nobody knows a better one.
    reward: `[L]`.
    terminated: whether the last action ended the episode.
  """
  discount = np.ones(len(reward) + 1, np.float32)
  is_terminal = np.zeros(len(reward) + 1, bool)
  if terminated:
    discount[-2] = 0
    is_terminal[-1] = True
  return dict(
      observation=observation,
      action=np.concatenate([action, action[-1:]]),
      reward=np.append(reward, np.zeros(1, reward.dtype)),
      discount=discount,
      is_terminal=is_terminal)


def blocks(
    source: str,
    episodes: Iterable[Episode],
    num_rows: int,
    names: Mapping[str, str] = NAMES,  # pylint: disable=dangerous-default-value
) -> Iterator[steps_lib.Steps]:
  """Joins and validates whole episodes until a block has enough rows.

  Args:
    source: where the episodes come from.
    episodes: one after the other; may also hold `is_last`, of `[S]`, for what
      are several episodes in one.
    num_rows: steps per block, or more, up to the end of an episode.
    names: what messages call the columns.

  Yields:
    `[T, ...]` steps.

  Raises:
    ValueError: if a value is not valid, naming the episode, counted from 0, the
      field, and the index in the episode.
  """
  watch = value_checks.Watch(source, names['action'], names['reward'])
  number = 0
  sizes = None
  for group in gather(episodes, num_rows):
    for index, episode in enumerate(group, number):
      found = {name: episode[name].shape[1] for name in (
          'observation', 'action')}
      sizes = sizes or found
      if found != sizes:
        raise ValueError(
            f'{source}: episode {index}: observations and actions have the '
            f'sizes {found}, but {sizes} before; all need the same.')
    columns = {
        name: np.concatenate([episode[name] for episode in group])
        for name in group[0]}
    last = np.cumsum([len(episode['reward']) for episode in group]) - 1
    try:
      steps = _convert(source, columns, last, names)
      watch.check(steps.action, steps.reward)
    except ValueError:
      for index, episode in enumerate(group, number):  # Which one was it?
        place = f'{source}: episode {index}'
        steps = _convert(place, episode, [len(episode['reward']) - 1], names)
        value_checks.Watch(place, names['action'], names['reward']).check(
            steps.action, steps.reward)
      raise
    yield steps
    number += len(group)
  watch.finish()


def _convert(
    source: str, columns: Episode, last: Any, names: Mapping[str, str],
) -> steps_lib.Steps:
  """Makes steps of episodes that end at `last`, and checks their values."""
  columns = {
      name: (value_checks.to_flags if name.startswith('is_') else
             value_checks.to_float)(source, names[name], column)
      for name, column in columns.items()}
  is_last = columns.pop('is_last', np.zeros(len(columns['reward']), bool))
  is_last = is_last.copy()
  is_last[last] = True
  bad = np.flatnonzero(columns['is_terminal'] & ~is_last)
  if bad.size:
    raise ValueError(
        f'{source}: field {names["is_terminal"]!r} is set at [{bad[0]}], which '
        'is not the episode\'s last step: the episode goes on after its end. '
        'Make the dataset again.')
  return steps_lib.Steps(
      is_first=np.append(True, is_last[:-1]), is_last=is_last, **columns)


def gather(
    episodes: Iterable[Episode], num_rows: int) -> Iterator[list[Episode]]:
  """Yields lists of consecutive episodes of `num_rows` steps or more."""
  group, rows = [], 0
  for episode in episodes:
    group.append(episode)
    rows += len(episode['reward'])
    if rows >= num_rows:
      yield group
      group, rows = [], 0
  if group:
    yield group


class EpisodesSource(steps_lib.Source):
  """Episodes in memory; see `from_episodes`."""
  kind = 'episodes'

  def __init__(self, steps: steps_lib.Steps, name: str):
    self.name = name
    self._steps = steps

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class."""
    for start in range(0, len(self._steps.reward), num_rows):
      stop = min(start + num_rows, len(self._steps.reward))
      yield steps_lib.Steps(*(column[start:stop] for column in self._steps))


def from_episodes(
    episodes: Iterable[Mapping[str, Any]], name: str = 'episodes',
) -> EpisodesSource:
  """Makes a source of episodes of one's own.

  Args:
    episodes: one mapping per episode of L actions, with
      'observations', `[L + 1, ...]` with the final one, or `[L, ...]` if it is
        not known, an array or nested mappings and tuples of such, which are
        flattened in the order of `leaves`;
      'actions', `[L, ...]` in [-1, 1], likewise;
      'rewards', `[L]`;
      'terminated', whether the last action really ended the episode, rather
        than a limit: a bool, or `[L]` of which only the last may be set.
      Other keys are not looked at. Without the final observation, an episode
      that did not terminate loses its last transition.
    name: what messages call it.

  Returns:
    A source, picklable, which holds the data in memory.

  Raises:
    ValueError: if an episode is not valid, naming it, counted from 0, the
      field, the index, what was found and what to do.
  """
  names = dict(
      observation='observations', action='actions', reward='rewards',
      discount='discount', is_terminal='terminated', is_last='is_last')
  converted = (
      complete(f'{name}: episode {index}', episode)
      for index, episode in enumerate(episodes))
  whole = list(blocks(name, converted, sys.maxsize, names))
  if not whole:
    raise ValueError(f'{name}: there are no episodes; give at least one.')
  return EpisodesSource(whole[0], name)


def complete(
    place: str, episode: Mapping[str, Any], terminated: str = 'terminated',
) -> Episode:
  """Flattens an episode, checks its lengths, and makes its last step.

  Args:
    place: what messages call the episode.
    episode: see `from_episodes`.
    terminated: the name of the field that `from_episodes` calls so.

  Raises:
    ValueError: if the episode is not valid.
  """
  fields = ('observations', 'actions', 'rewards', terminated)
  missing = [field for field in fields if field not in episode]
  if missing:
    raise ValueError(
        f'{place}: the field {missing[0]!r} is missing; found '
        f'{", ".join(map(str, episode)) or "nothing"}. An episode has '
        f'{", ".join(fields)}.')
  observation, action = (
      flatten(place, field, episode[field])
      for field in ('observations', 'actions'))
  reward = np.asarray(episode['rewards'])
  value_checks.check_layout(place, {'rewards': reward}, {'rewards': 1})
  length = len(reward)
  if len(action) != length or len(observation) not in (length, length + 1):
    raise ValueError(
        f'{place}: {len(observation)} observations, {len(action)} actions and '
        f'{length} rewards; for L actions there must be L rewards, and L + 1 '
        'observations (or L if the final one is not known).')
  ends = np.asarray(episode[terminated])
  if ends.shape not in ((), (length,), (length, 1)):
    raise ValueError(
        f'{place}: field {terminated!r} has the shape {ends.shape}; expected a '
        f'bool, or one per action, ({length},).')
  ends = value_checks.to_flags(place, terminated, ends.reshape(-1))
  if ends[:-1].any():
    raise ValueError(
        f'{place}: field {terminated!r} is set at '
        f'[{np.flatnonzero(ends)[0]}], and the episode goes on after it; split '
        'it there.')
  reward = reward.reshape(-1)
  if len(observation) == length + 1:
    return with_final_step(observation, action, reward, bool(ends[-1]))
  if ends[-1]:  # The observation behind an end is masked.
    observation = np.append(observation, np.zeros_like(observation[:1]), axis=0)
    return with_final_step(observation, action, reward, True)
  return dict(
      observation=observation, action=action, reward=reward,
      discount=np.ones(length, np.float32), is_terminal=np.zeros(length, bool))
