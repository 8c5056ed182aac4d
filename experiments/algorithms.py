"""The algorithms of the command line, and their options by gin."""

import dataclasses
import functools
import logging
import os
import re
import typing
from typing import Any, Callable, Mapping, NamedTuple, Sequence, Union

import gin

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


class _Algorithm(NamedTuple):
  """An algorithm: its options, their module in gin, and what they make."""
  options: type
  module: str
  make: Callable[[Any], Agent]

  @property
  def configurable(self) -> str:
    return f'{self.module}.{self.options.__name__}'


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


# With the modules under which the seeds' bindings know the options.
_ALGORITHMS: Mapping[str, _Algorithm] = {
    'msg': _Algorithm(msg.MSGConfig, 'msg.config', _make_msg),
    'batch_ensemble_msg': _Algorithm(
        msg.BatchEnsembleMSGConfig, 'batch_ensemble_msg.config',
        _make_batch_ensemble_msg),
    'bc': _Algorithm(bc.BCConfig, 'bc.config', _make_bc),
    'cql': _Algorithm(msg.CQLConfig, 'cql.config', _make_msg),
    'sac_n': _Algorithm(msg.SACNConfig, 'sac_n.config', _make_msg),
}

for _algorithm in _ALGORITHMS.values():
  gin.external_configurable(_algorithm.options, module=_algorithm.module)

ALGORITHMS = tuple(_ALGORITHMS)

_RECIPES = os.path.join(os.path.dirname(__file__), 'recipes')
gin.add_config_file_search_path(_RECIPES)
# Gin logs an error for each place where it looks for a file in vain.
logging.getLogger().addFilter(
    lambda record: record.module != 'resource_reader')

# Options of the reference that lie outside of MSG.
_REFUSED = {
    'use_img_encoder', 'img_encoder_params_ckpt_path', 'img_encoder_fn'}


def parse_gin(config_files: Sequence[str], bindings: Sequence[str]):
  """Reads gin files and bindings, in this order, on a clean slate.

  Args:
    config_files: paths of gin files, or names of those in `recipes/`.
    bindings: such as 'msg.config.MSGConfig.beta=-8'.

  Raises:
    ValueError: naming the binding or file, if one names no parameter, is not
      Python, or is not there.
  """
  gin.clear_config()
  for binding in bindings:
    name = binding.split('=')[0].strip().rsplit('.', 1)[-1]
    if name in _REFUSED:
      raise ValueError(
          f'--gin_bindings={binding!r}: image encoders are outside of MSG; '
          'remove the binding.')
  for path in config_files:
    try:
      gin.parse_config_file(path, skip_unknown=False)
    except OSError as e:
      raise ValueError(
          f'--gin_configs={path!r}: {e}\nThe recipes are '
          f'{", ".join(sorted(os.listdir(_RECIPES)))}.') from e
    except (ValueError, SyntaxError) as e:
      raise ValueError(f'--gin_configs={path!r}: {e}') from e
  for binding in bindings:
    try:
      gin.parse_config(binding, skip_unknown=False)
    except (OSError, ValueError, SyntaxError) as e:
      raise ValueError(f'--gin_bindings={binding!r}: {e}') from e
  _check_all_read()


def _check_all_read():
  """Refuses what gin takes without a word: scopes, and macros by mistake."""
  text = gin.config_str()
  names = set(re.findall(r'^([\w./]+) = ', text, re.MULTILINE))
  macros = {name for name in names if not set('./').intersection(name)}
  used = set(re.findall(r'%([\w.]+)', text))
  unread = {name for name in names if '/' in name} | (macros - used)
  if unread:
    raise ValueError(
        f'The gin bindings of {sorted(unread)} name no parameter that is read; '
        'write them like msg.config.MSGConfig.beta=-8.')
  if used - macros:
    raise ValueError(
        f'The gin macros {sorted(used - macros)} are used and not defined.')


def bound(algorithm: str) -> Mapping[str, Any]:
  """Returns the options of an algorithm that gin has bound.

  Args:
    algorithm: one of `ALGORITHMS`.

  Raises:
    ValueError: if one is not of its option's type.
  """
  found = _ALGORITHMS[algorithm]
  options = gin.get_bindings(found.configurable)
  hints = typing.get_type_hints(found.options)
  for name, value in options.items():
    if not _fits(value, hints[name]):
      hint = hints[name]
      hint = hint.__name__ if isinstance(hint, type) else hint
      raise ValueError(
          f'The gin binding {found.configurable}.{name}={value!r} is not of '
          f'the type {hint}.')
  return options


def _fits(value: Any, hint: Any) -> bool:
  """Returns whether a value has one of the types that options have."""
  kinds = typing.get_args(hint)
  if typing.get_origin(hint) is Union:
    return any(_fits(value, kind) for kind in kinds)
  if kinds:
    return (isinstance(value, (tuple, list)) and
            all(_fits(item, kinds[0]) for item in value))
  if isinstance(value, bool):
    return hint is bool
  return isinstance(value, (int, float) if hint is float else hint)


def make_agent(algorithm: str, **options) -> Agent:
  """Makes an agent from the bindings in force.

  Args:
    algorithm: one of `ALGORITHMS`.
    **options: override what is bound.

  Returns:
    The agent.

  Raises:
    ValueError: if there is no such algorithm, if a binding belongs to another
      one, or if the options cannot run.
  """
  if algorithm not in _ALGORITHMS:
    raise ValueError(f'--algorithm={algorithm!r} is not one of {ALGORITHMS}.')
  for other in _ALGORITHMS:
    if other != algorithm and bound(other):
      names = ', '.join(sorted(bound(other)))
      raise ValueError(
          f'The bindings of {names} are for --algorithm={other}, but '
          f'--algorithm={algorithm} was asked for, which does not read them.')
  found = _ALGORITHMS[algorithm]
  # Made by the plain class: gin's own subclass cannot be sent to a process.
  return found.make(found.options(**{**bound(algorithm), **options}))


def to_json(config: Any) -> Mapping[str, Any]:
  """Returns an agent's options as JSON values, but for those of execution."""
  return {name: list(value) if isinstance(value, tuple) else value
          for name, value in dataclasses.asdict(config).items()
          if name not in option_checks.EXECUTION}
