"""Behaviour cloning; the learner needs Acme and is imported on first use."""

from .config import BCConfig

__all__ = ('BCConfig', 'BCLearner')


def __getattr__(name):
  if name == 'BCLearner':
    from .learning import BCLearner
    return BCLearner
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
