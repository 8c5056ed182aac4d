"""MSG agent.

The learner needs Acme and is imported on first use, so that networks, losses
and the gradient step run where Acme is not installed.
"""

from .baselines import CQLConfig
from .baselines import SACNConfig
from .config import BatchEnsembleMSGConfig
from .config import MSGConfig


def __getattr__(name):
  if name == 'MSGLearner':
    from .learning import MSGLearner
    return MSGLearner
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
