"""Checks of what a dataset file holds, with messages that name the place."""

from typing import Any, Mapping

from absl import logging
import numpy as np

# Actions are tanh-squashed: what lies beyond the bounds by a rounding error is
# used as it is (the reference does not clip either), what lies further out was
# recorded in another unit and would spoil the policy without a word.
ACTION_TOLERANCE = 0.01


def check_layout(
    source: str, columns: Mapping[str, Any], ranks: Mapping[str, int]):
  """Checks ranks, lengths and types, without reading any value.

  Args:
    source: what the columns were found in, a file's name.
    columns: by field name, anything with `shape` and `dtype` (HDF5 datasets).
    ranks: by field name, 2 for `[T, ...]` vectors and 1 for `[T]`; the latter
      may also be stored as `[T, 1]`, which D4RL accepts.

  Raises:
    ValueError: with the field, what was found and what to do.
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
    source: what the column was found in, a file's name.
    name: the field.
    column: `[T, ...]`, any real type.
    first_row: where in the file the column begins, for messages.

  Returns:
    `[T, ...]` float32; the column itself if it already is.

  Raises:
    ValueError: with the index of the first value that is not finite.
  """
  with np.errstate(over='ignore', invalid='ignore'):
    converted = np.ascontiguousarray(column, dtype=np.float32)
    # A sum is finite only if every term is; it needs no second array. It may
    # also overflow, so only the slower check decides that a value is bad.
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
  """Converts a column of 0 and 1 in any type to bool.

  Args:
    source: what the column was found in, a file's name.
    name: the field.
    column: `[T]`.
    first_row: where in the file the column begins, for messages.

  Returns:
    `[T]` bool.

  Raises:
    ValueError: with the index of the first value that is neither.
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
  """Checks of a dataset read block by block; warns once of each thing."""

  def __init__(self, source: str, action: str, reward: str):
    """Initialises.

    Args:
      source: what the columns are found in, a file's name.
      action: the field of the actions.
      reward: the field of the rewards.
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
      ValueError: if an action lies outside by more than `ACTION_TOLERANCE`.
        Smaller excesses are logged as a warning, and left as they are.
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
      logging.warning('%s by a little; it is used as it is.', found)
      self._exceeded = True
    self._rows += len(reward)
    low, high = self._range
    self._range = (
        min(low, float(reward.min())), max(high, float(reward.max())))

  def finish(self):
    """Warns if all rewards were equal: nothing can be learned from them."""
    if self._range[0] == self._range[1]:
      logging.warning(
          '%s: field %r is %s in all of its %d rows: there is no variation of '
          'reward to learn from. Is it the right file?', self._source,
          self._reward, self._range[0], self._rows)
