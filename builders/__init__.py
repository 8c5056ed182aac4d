"""Acme builders: one for each agent and each MSG variant."""

from .bc import BCBuilder
from .msg import MSGBuilder
