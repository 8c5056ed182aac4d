"""Checks of the values in a dataset, with messages that name the place."""

from typing import Any, Mapping

from absl import logging
import numpy as np

# The policy's actions lie in [-1, 1]. Actions that exceed these bounds by a
# rounding error are used unchanged, as in the reference implementation. Larger
# ones were recorded in another unit and would silently spoil the policy.
ACTION_TOLERANCE = 0.01


def check_layout(
    source: str, columns: Mapping[str, Any], ranks: Mapping[str, int]):
  """Checks ranks, lengths and types without reading values.

  Args:
    source: name of the file, for messages.
    columns: anything with `shape` and `dtype`, by field name.
    ranks: by field name, 2 for vectors `[T, size]` and 1 for scalars `[T]`;
      `[T, 1]` is also accepted for scalars, as by D4RL.

  Raises:
    ValueError: naming the field, what was found and what to do.
  """
  for name, column in columns.items():
    shape, dtype = tuple(column.shape), column.dtype
    if dtype.kind not in 'fiub':
      raise ValueError(
          f'{source}: field {name!r} has the type {dtype}, not a real number '
          'type; store it as float32 (or bool for flags).')
    wanted = '[T, size]' if ranks[name] == 2 else '[T]'
    if not (len(shape) == ranks[name] or
            (ranks[name] == 1 and len(shape) == 2 and shape[1] == 1)):
      raise ValueError(
          f'{source}: field {name!r} has the shape {shape}, expected {wanted} '
          '(one row per step); reshape it.')
    if shape[0] == 0:
      raise ValueError(
          f'{source}: field {name!r} is empty (shape {shape}); the file holds '
          'no step. Make or download it again.')
    if ranks[name] == 2 and shape[1] == 0:
      raise ValueError(
          f'{source}: field {name!r} has the shape {shape}: vectors of size 0. '
          'Make or download the file again.')
  lengths = {name: column.shape[0] for name, column in columns.items()}
  if len(set(lengths.values())) > 1:
    found = ', '.join(f'{name} {size}' for name, size in lengths.items())
    raise ValueError(
        f'{source}: the fields have different numbers of rows ({found}); each '
        'needs one row per step. Make or download the file again.')


def to_float(
    source: str, name: str, column: np.ndarray, first_row: int = 0,
) -> np.ndarray:
  """Converts a column to float32 and checks that it is finite.

  Args:
    source: name of the file, for messages.
    name: name of the field, for messages.
    column: `[T, ...]`, any real type.
    first_row: index of the column's first row in the file, for messages.

  Returns:
    `[T, ...]` float32; the same array if it has that type.

  Raises:
    ValueError: naming the first value that is not finite.
  """
  with np.errstate(over='ignore', invalid='ignore'):
    converted = np.ascontiguousarray(column, dtype=np.float32)
    # A sum needs no second array and is finite only if all terms are. Since it
    # may also overflow, the slower check below decides.
    suspicious = not np.isfinite(np.sum(converted))
  if suspicious:
    bad = np.argwhere(~np.isfinite(converted))
    if len(bad):
      index = bad[0].tolist()
      raise ValueError(
          f'{source}: field {name!r} is {column[tuple(index)]} at '
          f'{[first_row + index[0], *index[1:]]}, which is not finite in '
          f'float32 ({len(bad)} such values in all); remove the episodes '
          'concerned or make the file again.')
  return converted


def to_flags(
    source: str, name: str, column: np.ndarray, first_row: int = 0,
) -> np.ndarray:
  """Converts a column of zeros and ones of any type to bool.

  Args:
    source: name of the file, for messages.
    name: name of the field, for messages.
    column: `[T]`.
    first_row: index of the column's first row in the file, for messages.

  Returns:
    `[T]` bool.

  Raises:
    ValueError: naming the first value that is neither 0 nor 1.
  """
  if column.dtype == np.bool_:
    return column
  bad = np.flatnonzero((column != 0) & (column != 1))
  if bad.size:
    raise ValueError(
        f'{source}: field {name!r} is {column[bad[0]]} at '
        f'[{first_row + bad[0]}]; it is a flag, so only 0 and 1 are possible. '
        'Store it as bool.')
  return column.astype(bool)


class Watch:
  """Checks the actions and rewards of a dataset block by block."""

  def __init__(self, source: str, action: str, reward: str):
    """Initialises.

    Args:
      source: name of the file, for messages.
      action: name of the field of actions.
      reward: name of the field of rewards.
    """
    self._source = source
    self._action = action
    self._reward = reward
    self._rows = 0
    self._range = (np.inf, -np.inf)
    self._exceeded = False

  def check(self, action: np.ndarray, reward: np.ndarray):
    """Checks that the actions of the next block lie in [-1, 1].

    Args:
      action: `[T, A]` float32.
      reward: `[T]` float32.

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
    low, high = self._range
    self._range = (
        min(low, float(reward.min())), max(high, float(reward.max())))

  def finish(self):
    """Warns if all rewards were equal."""
    if self._range[0] == self._range[1]:
      logging.warning(
          '%s: field %r is %s in all of its %d rows: there is no variation of '
          'reward to learn from. Is it the right file?', self._source,
          self._reward, self._range[0], self._rows)
