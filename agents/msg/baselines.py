"""Rivals of MSG, as settings of the same learner."""

import dataclasses
from typing import Optional, Sequence

from . import config


@dataclasses.dataclass
class CQLConfig(config.MSGConfig):
  """Conservative Q-learning with two critics, in the reference's form.

  The MSG specification, section 3.4: the smaller target, no entropy in it, ten
  sampled and ten uniform actions, a start of behaviour cloning, and the mode in
  evaluation. All options are those of `MSGConfig`.
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


@dataclasses.dataclass
class SACNConfig(config.MSGConfig):
  """SAC-N: N critics share the least of their targets.

  The policy maximises the least member. As in MSG, and unlike in the paper
  (https://arxiv.org/abs/2110.01548), targets hold no entropy term. All options
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
