"""Experiments as Launchpad programs: their nodes, and how they are launched."""

import importlib

__all__ = ['ExperimentConfig', 'StreamConfig', 'launch', 'run_local']

_MODULES = {
    'ExperimentConfig': 'experiment_config',
    'StreamConfig': 'experiment_config',
    'launch': 'local',
    'run_local': 'local',
}


def __getattr__(name: str):
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
