"""MSG, and CQL and SAC-N as settings of the same learner.

The learner needs Acme and is imported on first use, so that losses and the
gradient step run without Acme.
"""

from .baselines import CQLConfig
from .baselines import SACNConfig
from .config import BatchEnsembleMSGConfig
from .config import MSGConfig

__all__ = (
    'BatchEnsembleMSGConfig', 'CQLConfig', 'MSGConfig', 'MSGLearner',
    'SACNConfig')


def __getattr__(name):
  if name == 'MSGLearner':
    from .learning import MSGLearner
    return MSGLearner
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
