"""Acme builders: one for each agent and each MSG variant.

`ActorLearnerBuilder` is imported on first use, because its base class exists in
Acme 0.4.0 only.
"""

from .batches import BatchingBuilder
from .batches import sample_batches
from .bc_builder import BCBuilder
from .bc_builder import make_bc_networks
from .import_order import import_acme_msg_first
from .msg_builder import make_msg_networks
from .msg_builder import MSGBuilder
from .normalizing import NormalizingBuilder
from .offline_builder import FeedForwardBuilder
from .offline_builder import OfflineBuilder
from .variants import BatchEnsembleBuilder
from .variants import DeepEnsembleBuilder
from .variants import MIMOBuilder
from .variants import MultiHeadBuilder
from .variants import TreeEnsembleBuilder

__all__ = (
    'ActorLearnerBuilder',
    'BCBuilder',
    'BatchEnsembleBuilder',
    'BatchingBuilder',
    'DeepEnsembleBuilder',
    'FeedForwardBuilder',
    'MIMOBuilder',
    'MSGBuilder',
    'MultiHeadBuilder',
    'NormalizingBuilder',
    'OfflineBuilder',
    'TreeEnsembleBuilder',
    'import_acme_msg_first',
    'make_bc_networks',
    'make_msg_networks',
    'sample_batches',
)


def __getattr__(name: str):
  if name != 'ActorLearnerBuilder':
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from . import actor_learner
  return actor_learner.ActorLearnerBuilder
