"""The algorithms of the command line, and their options by gin."""

import dataclasses
import functools
import os
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import gin

from .. import builders
from ..agents import bc
from ..agents import msg
from ..builders import bc as bc_builder
from ..builders import msg as msg_builder


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
  """An algorithm: the name of its options in gin, and what they make."""
  configurable: str
  make: Callable[..., Agent]


def _make_msg(**options) -> Agent:
  return _msg_agent(msg.MSGConfig(**options))


def _make_batch_ensemble_msg(**options) -> Agent:
  return _msg_agent(msg.BatchEnsembleMSGConfig(**options).to_msg_config())


def _msg_agent(config: msg.MSGConfig) -> Agent:
  return Agent(
      builders.MSGBuilder(config),
      functools.partial(msg_builder.make_networks, config=config), config)


def _make_bc(**options) -> Agent:
  config = bc.BCConfig(**options)
  return Agent(
      builders.BCBuilder(config),
      functools.partial(bc_builder.make_networks, config=config), config)


_ALGORITHMS: Mapping[str, _Algorithm] = {
    'msg': _Algorithm('msg.config.MSGConfig', _make_msg),
    'batch_ensemble_msg': _Algorithm(
        'batch_ensemble_msg.config.BatchEnsembleMSGConfig',
        _make_batch_ensemble_msg),
    'bc': _Algorithm('bc.config.BCConfig', _make_bc),
}

# Under the names that the seeds' bindings use.
gin.external_configurable(msg.MSGConfig, module='msg.config')
gin.external_configurable(
    msg.BatchEnsembleMSGConfig, module='batch_ensemble_msg.config')
gin.external_configurable(bc.BCConfig, module='bc.config')

ALGORITHMS = tuple(_ALGORITHMS)

_RECIPES = os.path.join(os.path.dirname(__file__), 'recipes')

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
    recipe = os.path.join(_RECIPES, path)
    if not os.path.exists(path) and not os.path.exists(recipe):
      raise ValueError(
          f'--gin_configs={path!r}: there is no such file, and no such recipe; '
          f'the recipes are {sorted(os.listdir(_RECIPES))}.')
    try:
      gin.parse_config_file(
          path if os.path.exists(path) else recipe, skip_unknown=False)
    except (ValueError, SyntaxError) as e:
      raise ValueError(f'--gin_configs={path!r}: {e}') from e
  for binding in bindings:
    try:
      gin.parse_config(binding, skip_unknown=False)
    except (ValueError, SyntaxError, TypeError) as e:
      raise ValueError(f'--gin_bindings={binding!r}: {e}') from e


def bound(algorithm: str) -> Mapping[str, Any]:
  """Returns the options of an algorithm that gin has bound."""
  return gin.get_bindings(_ALGORITHMS[algorithm].configurable)


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
  # Made by the plain class: gin's own subclass cannot be sent to a process.
  return _ALGORITHMS[algorithm].make(**{**bound(algorithm), **options})


def to_json(config: Any) -> Mapping[str, Any]:
  """Returns an agent's options as JSON values."""
  return {name: list(value) if isinstance(value, tuple) else value
          for name, value in dataclasses.asdict(config).items()}
