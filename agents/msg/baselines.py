"""Baselines that are settings of the MSG learner (docs/msg.md 10)."""

import dataclasses
from typing import Optional, Sequence

from . import config


@dataclasses.dataclass(frozen=True)
class CQLConfig(config.MSGConfig):
  """Conservative Q-learning with two critics (docs/msg.md 10.2).

  As in the reference implementation, critics share the smaller target, which
  has no entropy term; the regulariser takes ten policy and ten uniform actions;
  training starts with behaviour cloning; evaluation uses the policy's mode. All
  options are those of `MSGConfig`.
  """
  ensemble_size: int = 2
  td_target_method: str = 'shared_min'
  behavior_regularization_type: str = 'cql'
  behavior_regularization_alpha: float = 5.0
  num_cql_actions: int = 10
  use_random_weighting_in_critic_loss: bool = False
  actor_network_hidden_sizes: Sequence[int] = (256, 256, 256)
  critic_network_hidden_sizes: Sequence[int] = (256, 256, 256)
  eval_mode: Optional[str] = 'mode'


@dataclasses.dataclass(frozen=True)
class SACNConfig(config.MSGConfig):
  """SAC-N: N critics share the smallest of their targets (docs/msg.md 10.3).

  The policy maximises the smallest member. Targets have no entropy term, as in
  MSG and unlike in the paper (https://arxiv.org/abs/2110.01548). All options
  are those of `MSGConfig`.
  """
  ensemble_size: int = 10
  td_target_method: str = 'shared_min'
  num_bc_iters: int = 0
  policy_lr: float = 3e-4
  use_random_weighting_in_critic_loss: bool = False
  actor_network_hidden_sizes: Sequence[int] = (256, 256, 256)
  critic_network_hidden_sizes: Sequence[int] = (256, 256, 256)
  eval_mode: Optional[str] = 'mode'
