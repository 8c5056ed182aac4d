"""The algorithms of the command line."""

import dataclasses
import functools
from typing import Any, Callable, Mapping, NamedTuple, Tuple

from . import gin_options
from .. import builders
from ..agents import bc
from ..agents import msg
from ..agents import option_checks


class Agent(NamedTuple):
  """An agent that is ready to be trained.

  Attributes:
    builder: an Acme `OfflineBuilder`.
    network_factory: maps an environment spec to the agent's networks.
    config: the resolved options.
  """
  builder: Any
  network_factory: Callable[[Any], Any]
  config: Any


def _make_msg(config: msg.MSGConfig) -> Agent:
  return Agent(
      builders.MSGBuilder(config),
      functools.partial(builders.make_msg_networks, config=config), config)


def _make_batch_ensemble_msg(config: msg.BatchEnsembleMSGConfig) -> Agent:
  return _make_msg(config.to_msg_config())


def _make_bc(config: bc.BCConfig) -> Agent:
  return Agent(
      builders.BCBuilder(config),
      functools.partial(builders.make_bc_networks, config=config), config)


# The class of an algorithm's options, and what makes the agent from them.
_ALGORITHMS: Mapping[str, Tuple[Any, Any]] = {
    'msg': (msg.MSGConfig, _make_msg),
    'batch_ensemble_msg': (
        msg.BatchEnsembleMSGConfig, _make_batch_ensemble_msg),
    'bc': (bc.BCConfig, _make_bc),
    'cql': (msg.CQLConfig, _make_msg),
    'sac_n': (msg.SACNConfig, _make_msg),
}
ALGORITHMS = tuple(_ALGORITHMS)


def _check(algorithm: str):
  if algorithm not in _ALGORITHMS:
    raise ValueError(f'--algorithm={algorithm!r} is not one of {ALGORITHMS}.')


def bound(algorithm: str) -> Mapping[str, Any]:
  """Returns the options of an algorithm that gin has bound.

  Args:
    algorithm: one of `ALGORITHMS`.

  Raises:
    ValueError: if there is no such algorithm, or if a bound value has not the
      type of its option.
  """
  _check(algorithm)
  options, _ = _ALGORITHMS[algorithm]
  return gin_options.bound(options)


def make_agent(algorithm: str, **options) -> Agent:
  """Makes an agent; gin bindings give its options.

  Args:
    algorithm: one of `ALGORITHMS`.
    **options: replace bound values and defaults.

  Returns:
    The agent.

  Raises:
    ValueError: if there is no such algorithm, if a binding belongs to another
      algorithm, or if the options are invalid.
  """
  _check(algorithm)
  for other in _ALGORITHMS:
    if other != algorithm and bound(other):
      names = ', '.join(sorted(bound(other)))
      raise ValueError(
          f'The bindings of {names} are for --algorithm={other}, but '
          f'--algorithm={algorithm} was asked for, which does not read them.')
  options_class, make = _ALGORITHMS[algorithm]
  # The plain class, because the subclass that gin makes cannot be pickled.
  return make(options_class(**{**bound(algorithm), **options}))


def to_json(config: Any) -> Mapping[str, Any]:
  """Returns an agent's options as JSON values, without execution options."""
  return {name: list(value) if isinstance(value, tuple) else value
          for name, value in dataclasses.asdict(config).items()
          if name not in option_checks.EXECUTION}
