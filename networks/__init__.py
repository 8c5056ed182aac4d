"""Policies and critic ensembles; plain JAX and Haiku."""

from .critic import CriticEnsemble
from .critic import CriticOutput
from .critic import with_heads
from .factory import ENSEMBLE_METHODS
from .factory import MSGNetworks
from .factory import make_critic
from .factory import make_policy
from .initializers import INIT_TYPES
from .policy import PolicyNetwork
from .tanh_normal import TanhNormal
