"""Checks of the values in a dataset, with messages that name the place.

The arguments `source` and `name` are what messages call the file and the field.
"""

import itertools
import re
from typing import Any, Collection, Iterable, Mapping, Sequence

from absl import logging
import numpy as np

# The policy's actions lie in [-1, 1]. Actions that exceed these bounds by a
# rounding error are used unchanged, as in the reference implementation. Larger
# ones were recorded in another unit and would silently spoil the policy.
ACTION_TOLERANCE = 0.01
# Larger numbers are refused: their squares, summed over a batch, come near the
# end of float32's range.
LARGEST = 1e18
# Larger numbers give a warning.
_LARGE = 1e6

# A layout gives one of these for each field: `[T, size]` numbers, `[T]` numbers
# or `[T]` zeros and ones. `[T, 1]` is also accepted for `[T]`, as by D4RL.
VECTOR, SCALAR, FLAG = 'vector', 'scalar', 'flag'


def check_present(
    source: str, wanted: Iterable[str], found: Collection[str], layout: str):
  """Raises ValueError, naming the field, if a wanted field is not found."""
  for name in wanted:
    if name not in found:
      raise ValueError(
          f'{source}: the field {name!r} is missing; found '
          f'{listed(found)}. {layout} has '
          f'{", ".join(wanted)}; rename or add it.')


def listed(names: Collection[Any]) -> str:
  """Returns names for a message; quoted where blanks or bytes would mislead."""
  shown = [name if isinstance(name, str) and re.fullmatch(r'[\w/.-]+', name)
            else repr(name)[:100] for name in itertools.islice(names, 30)]
  if len(names) > len(shown):
    shown.append(f'and {len(names) - len(shown)} more')
  return ', '.join(shown) or 'nothing'


def check_numbers(
    source: str, name: str, shape: Sequence[Any], dtype: np.dtype):
  """Checks that a column, steps first, holds one row of numbers per step.

  Raises:
    ValueError: if the column is a scalar or holds strings or images. Images
      have three dimensions per step, or two of type uint8.
  """
  if dtype.kind not in 'fiub':
    raise ValueError(
        f'{source}: field {name!r} has the type {dtype}, not a real number '
        'type; store numbers as float32 (or bool for flags), and leave strings '
        'out of the data.')
  if not shape:
    raise ValueError(
        f'{source}: field {name!r} has the shape (), expected [T] or [T, size] '
        '(one row per step).')
  if len(shape) > 3 or (len(shape) == 3 and dtype == np.uint8):
    raise ValueError(
        f'{source}: field {name!r} has the shape {tuple(shape)} and the type '
        f'{dtype}, expected [T, size]: images are not supported. Leave it out '
        'of the data.')


def check_layout(
    source: str, columns: Mapping[str, Any], layout: Mapping[str, str]):
  """Checks shapes, lengths and types without reading values.

  Args:
    source: the file.
    columns: anything with `shape` and `dtype`, by field name.
    layout: `VECTOR`, `SCALAR` or `FLAG`, by field name.

  Raises:
    ValueError: naming the field, what was found and what to do.
  """
  for name, column in columns.items():
    shape = tuple(column.shape)
    check_numbers(source, name, shape, column.dtype)
    if layout[name] == VECTOR:
      fits, wanted = len(shape) == 2, '[T, size]'
    else:
      fits, wanted = shape[1:] in ((), (1,)), '[T]'
    if not fits:
      raise ValueError(
          f'{source}: field {name!r} has the shape {shape}, expected {wanted} '
          '(one row per step); reshape it.')
    if 0 in shape:
      what = 'vectors of size 0' if shape[0] else 'no step'
      raise ValueError(
          f'{source}: field {name!r} is empty (shape {shape}): {what}. Make or '
          'download the file again.')
  lengths = {name: column.shape[0] for name, column in columns.items()}
  if len(set(lengths.values())) > 1:
    found = ', '.join(f'{name} {size}' for name, size in lengths.items())
    raise ValueError(
        f'{source}: the fields have different numbers of rows ({found}); each '
        'needs one row per step. Make or download the file again.')


def convert(
    source: str, name: str, column: np.ndarray, kind: str, first_row: int = 0,
) -> np.ndarray:
  """Converts a column to float32, or to bool for flags, and checks its values.

  Args:
    source: the file.
    name: the field.
    column: `[T, ...]`, any real type.
    kind: `VECTOR`, `SCALAR` or `FLAG`.
    first_row: index of the column's first row in the file, for messages.

  Returns:
    `[T, size]`, or `[T]` for scalars and flags; not copied if it has the type.

  Raises:
    ValueError: naming the first value that is not finite, or is a flag and
      neither 0 nor 1, or exceeds `LARGEST`.
  """
  if kind != VECTOR:
    column = column.reshape(-1)
  if kind == FLAG:
    bad = np.flatnonzero((column != 0) & (column != 1))
    if bad.size:
      raise ValueError(
          f'{source}: field {name!r} is {column[bad[0]]} at '
          f'[{first_row + bad[0]}]; it is a flag, so only 0 and 1 are '
          'possible. Store it as bool.')
    return column.astype(bool, copy=False)
  with np.errstate(over='ignore', invalid='ignore'):
    converted = np.ascontiguousarray(column, dtype=np.float32)
    # NaN is the maximum of any numbers with NaN.
    if max(converted.max(), -converted.min()) <= LARGEST:
      return converted
  for bad, what in (
      (~np.isfinite(converted), 'not finite in float32'),
      (np.abs(converted) > LARGEST, f'larger than {LARGEST:g}')):
    if bad.any():
      index = np.argwhere(bad)[0].tolist()
      raise ValueError(
          f'{source}: field {name!r} is {column[tuple(index)]} at '
          f'{[first_row + index[0], *index[1:]]}, which is {what} '
          f'({np.count_nonzero(bad)} such values in all); remove the episodes '
          'concerned or make the file again.')
  raise AssertionError('All numbers are finite and small.')


class Watch:
  """Checks a dataset's actions and ranges block by block; names are fields."""

  def __init__(self, source: str, observation: str, action: str, reward: str):
    self._source = source
    self._action = action
    self._rows = 0
    self._ranges = dict.fromkeys((observation, reward), (np.inf, -np.inf))
    self._reward = reward
    self._exceeded = False

  def check(
      self, observation: np.ndarray, action: np.ndarray, reward: np.ndarray):
    """Checks that the next block's actions `[T, A]` lie in [-1, 1].

    Raises:
      ValueError: if an action exceeds the bounds by more than
        `ACTION_TOLERANCE`. The first smaller excess is logged as a warning.
    """
    largest = max(float(action.max()), -float(action.min()))
    if largest > 1 + (ACTION_TOLERANCE if self._exceeded else 0):
      row, column = np.argwhere(np.abs(action) == np.float32(largest))[0]
      found = (
          f'{self._source}: field {self._action!r} is {action[row, column]:g} '
          f'at [{self._rows + row}, {column}], outside [-1, 1]')
      if largest > 1 + ACTION_TOLERANCE:
        raise ValueError(
            f'{found}; rescale the actions to [-1, 1], or clip them, in the '
            'file.')
      logging.warning('%s by a little; it is used unchanged.', found)
      self._exceeded = True
    self._rows += len(reward)
    for (name, (low, high)), values in zip(
        self._ranges.items(), (observation, reward)):
      self._ranges[name] = (
          min(low, float(values.min())), max(high, float(values.max())))

  def finish(self):
    """Warns of very large numbers, and if all rewards were equal."""
    for name, (low, high) in self._ranges.items():
      if max(high, -low) > _LARGE:
        logging.warning(
            '%s: field %r spans %g to %g: learning from numbers larger than '
            '%g seldom works. Is the unit right?', self._source, name, low,
            high, _LARGE)
    low, high = self._ranges[self._reward]
    if low == high:
      logging.warning(
          '%s: field %r is %s in all of its %d rows: there is no variation of '
          'reward to learn from. Is it the right file?', self._source,
          self._reward, low, self._rows)
