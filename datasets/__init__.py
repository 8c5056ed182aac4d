"""Datasets: files read as steps, steps made transitions, and their delivery.

The names below are imported when they are first used.
"""

import importlib

_MODULES = {
    'DataOptions': 'data_options',
    'find': 'sources',
    'from_episodes': 'episodes',
    'identify': 'identity',
    'load': 'loading',
    'make_resident_dataset': 'delivery',
    'make_stream': 'delivery',
    'transition_blocks': 'loading',
}

__all__ = (
    'DataOptions',
    'find',
    'from_episodes',
    'identify',
    'load',
    'make_resident_dataset',
    'make_stream',
    'transition_blocks',
)


def __getattr__(name: str):
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(
      importlib.import_module(f'.{_MODULES[name]}', __name__), name)
