"""Checks of agents' options; each error names the option and its value."""

import dataclasses
import numbers
import typing
from typing import Any, NamedTuple, Optional, Sequence, Union

import numpy as np

from . import parallel
from . import scanned_program

# Options of how a learner uses its devices. They do not change what it
# computes, so a run may resume with other values.
EXECUTION = ('parallel_map', 'resident_data')

# JAX counts steps in int32 and computes in float32.
MAX_INT = 2**31 - 1
_MAX_FLOAT = float(np.finfo(np.float32).max)
_MIN_POSITIVE = float(np.finfo(np.float32).tiny)


class Range(NamedTuple):
  """The numbers from `low` to `high`, and how to call them."""
  low: float
  high: float
  text: str


ANY = Range(-_MAX_FLOAT, _MAX_FLOAT, 'a finite number')
NOT_NEGATIVE = Range(
    0., _MAX_FLOAT, 'a finite number and must not be negative')
POSITIVE = Range(
    _MIN_POSITIVE, _MAX_FLOAT, 'a finite number greater than zero')
RATE = Range(_MIN_POSITIVE, 1., 'a number in (0, 1]')
FRACTION = Range(0., 1., 'a number in [0, 1]')


def count(low: int, high: int = MAX_INT) -> Range:
  """Returns a range of integers."""
  return Range(low, high, f'an integer of at least {low} and at most {high:,}')


# Far more than a machine can train, but few enough to compute with.
MEMBERS = count(1, 2**16)
_WIDTH = count(1, 2**16)
_MAX_LAYERS = 100


def require(condition: bool, message: str):
  """Raises ValueError with `message` unless the condition holds."""
  if not condition:
    raise ValueError(message)


def require_choice(config: Any, name: str, choices: Sequence[Any]):
  """Raises ValueError unless the option is one of `choices`."""
  value = getattr(config, name)
  require(value in choices, f'{name}={value!r} is not one of {choices}.')


def require_fields(config: Any, **ranges: Range):
  """Checks types and ranges of all fields of a frozen dataclass.

  Types are those of the annotations. NumPy's scalars are replaced by Python's
  numbers, lists by tuples, so that the config can be hashed and written as
  JSON.

  Args:
    config: the dataclass.
    **ranges: allowed values of fields that are numbers.

  Raises:
    ValueError: naming the field, what was found and what is allowed.
  """
  hints = typing.get_type_hints(type(config))
  for field in dataclasses.fields(config):
    name, value = field.name, getattr(config, field.name)
    object.__setattr__(config, name, _checked(
        name, value, hints[name], ranges.get(name)))
  for name in ('parallel_map', 'resident_data'):
    if hasattr(config, name):
      require_choice(config, name, {
          'parallel_map': parallel.PARALLEL_MAPS,
          'resident_data': scanned_program.RESIDENT_DATA}[name])


def _checked(name: str, value: Any, hint: Any, allowed: Optional[Range]) -> Any:
  """Returns a value of the type `hint`; raises ValueError for others."""
  kinds = typing.get_args(hint)
  if typing.get_origin(hint) is Union:  # Optional[...].
    return None if value is None else _checked(name, value, kinds[0], allowed)
  if kinds:  # Sequence[int]: the sizes of layers.
    require(isinstance(value, (tuple, list)) and 0 < len(value) <= _MAX_LAYERS
            and all(_is_number(x, int, _WIDTH) for x in value),
            f'{name}={value!r} must be a sequence of positive integers, at most'
            f' {_MAX_LAYERS} and each at most {_WIDTH.high:,}.')
    return tuple(map(int, value))
  if hint in (int, float):
    allowed = allowed or (ANY if hint is float else count(-MAX_INT))
    require(_is_number(value, hint, allowed),
            f'{name}={value!r} must be {allowed.text}.')
    return value.item() if isinstance(value, np.generic) else value
  if hint is bool and isinstance(value, np.bool_):
    return bool(value)
  require(isinstance(value, hint), f'{name}={value!r} must be a {hint.__name__}'
          f', not a {type(value).__name__}.')
  return value


def _is_number(value: Any, hint: type, allowed: Range) -> bool:
  kind: Any = numbers.Integral if hint is int else numbers.Real
  return (isinstance(value, kind) and not isinstance(value, bool)
          and allowed.low <= value <= allowed.high)
