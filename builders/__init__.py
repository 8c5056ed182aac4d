"""Acme builders: one for each agent and each MSG variant."""

from .bc_builder import BCBuilder
from .msg_builder import MSGBuilder
from .normalizing import NormalizingBuilder
from .variants import BatchEnsembleBuilder
from .variants import DeepEnsembleBuilder
from .variants import MIMOBuilder
from .variants import MultiHeadBuilder
from .variants import TreeEnsembleBuilder
