"""Policies and critic ensembles in JAX and Haiku (docs/msg.md 4 and 5)."""

from .critic import CriticEnsemble
from .critic import CriticOutput
from .critic import with_heads
from .factory import ENSEMBLE_METHODS
from .factory import make_critic
from .factory import make_policy
from .factory import MSGNetworks
from .initializers import INIT_TYPES
from .policy import PolicyNetwork
from .tanh_normal import TanhNormal

__all__ = (
    'ENSEMBLE_METHODS', 'INIT_TYPES', 'CriticEnsemble', 'CriticOutput',
    'MSGNetworks', 'PolicyNetwork', 'TanhNormal', 'make_critic', 'make_policy',
    'with_heads')
