"""Experiments: the command line, recipes, reports and benchmarks.

`tasks` and `settings` make experiments, which `launch` runs; `report` reads
finished ones.
"""

import importlib

__all__ = [
    'AgentConfig', 'Budget', 'DataConfig', 'TaskConfig', 'make_experiment',
    'make_task']


def __getattr__(name: str):
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = 'tasks' if name in ('TaskConfig', 'make_task') else 'settings'
  return getattr(importlib.import_module(f'.{module}', __name__), name)
