"""The algorithms of the command line: their options and their agents."""

import dataclasses
import functools
from typing import Any, Callable, Mapping, NamedTuple

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


# The class of each algorithm's options.
OPTIONS: Mapping[str, type] = {
    'msg': msg.MSGConfig,
    'batch_ensemble_msg': msg.BatchEnsembleMSGConfig,
    'bc': bc.BCConfig,
    'cql': msg.CQLConfig,
    'sac_n': msg.SACNConfig,
}


def make_agent(options: Any) -> Agent:
  """Makes an agent from its options, an instance of a class in `OPTIONS`."""
  config: Any = (
      options.to_msg_config()
      if isinstance(options, msg.BatchEnsembleMSGConfig) else options)
  builder, make_networks = (
      (builders.BCBuilder, builders.make_bc_networks)
      if isinstance(config, bc.BCConfig) else
      (builders.MSGBuilder, builders.make_msg_networks))
  return Agent(
      builder(config), functools.partial(make_networks, config=config), config)


def to_json(config: Any) -> Mapping[str, Any]:
  """Returns the options that decide results, as JSON values."""
  return {name: list(value) if isinstance(value, tuple) else value
          for name, value in dataclasses.asdict(config).items()
          if name not in (*option_checks.EXECUTION, 'allow_optimism')}
