"""Checks of agents' options; each error names the option and its value."""

from typing import Any, Sequence

from . import parallel
from . import scanned_program

# Options of how a learner uses its devices. They do not change what it
# computes, so a run may resume with other values.
EXECUTION = ('parallel_map', 'resident_data')


def require(condition: bool, message: str):
  """Raises ValueError with `message` unless the condition holds."""
  if not condition:
    raise ValueError(message)


def require_choice(config: Any, name: str, choices: Sequence[Any]):
  """Raises ValueError unless the option is one of `choices`."""
  value = getattr(config, name)
  require(value in choices, f'{name}={value!r} is not one of {choices}.')


def require_positive(config: Any, *names: str):
  """Raises ValueError unless the options are above zero."""
  for name in names:
    value = getattr(config, name)
    require(value > 0, f'{name}={value} must be greater than zero.')


def require_counts(config: Any, least: int, *names: str):
  """Raises ValueError unless the options are integers of at least `least`."""
  for name in names:
    value = getattr(config, name)
    require(isinstance(value, int) and value >= least,
            f'{name}={value!r} must be an integer of at least {least}.')


def require_not_negative(config: Any, *names: str):
  """Raises ValueError if an option is below zero."""
  for name in names:
    value = getattr(config, name)
    require(value >= 0, f'{name}={value} must not be negative.')


def require_hidden_sizes(config: Any, *names: str):
  """Raises ValueError unless the options are sequences of positive integers."""
  for name in names:
    sizes = getattr(config, name)
    require(
        len(sizes) > 0 and all(isinstance(n, int) and n > 0 for n in sizes),
        f'{name}={sizes!r} must be a sequence of positive integers.')


def require_execution(config: Any):
  """Raises ValueError unless the options of `EXECUTION` are valid."""
  require_choice(config, 'parallel_map', parallel.PARALLEL_MAPS)
  require_choice(config, 'resident_data', scanned_program.RESIDENT_DATA)
