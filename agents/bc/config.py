"""Behaviour-cloning config."""

import dataclasses
from typing import Optional, Sequence

from .. import option_checks
from ... import networks


@dataclasses.dataclass(frozen=True)
class BCConfig:
  """Configuration options for behaviour cloning.

  Defaults are those of the reference implementation; see docs/msg.md 11.3.

  Attributes:
    policy_lr: learning rate.
    loss: 'mle' (negative log-likelihood) or 'mse' (squared error of the mode).
    batch_size: B, transitions per gradient step.
    num_sgd_steps_per_step: S, gradient steps per learner step.
    actor_network_hidden_sizes: hidden layers of the policy.
    networks_init_type: see `networks.initializers.make`.
    eval_mode: how evaluators act: 'mode' or 'sample'; None is 'mode'.
    parallel_map: how JAX runs one program on all devices, 'pmap' or
      'shard_map'.
    resident_data: 'replicated' puts the whole dataset on each device,
      'sharded' a part of it, for datasets too large for one device.

  Raises:
    ValueError: if an option has an invalid value; the message names both.
  """
  policy_lr: float = 1e-4
  loss: str = 'mle'
  batch_size: int = 256
  num_sgd_steps_per_step: int = 1
  actor_network_hidden_sizes: Sequence[int] = (256, 256, 256)
  networks_init_type: str = 'glorot_also_dist'
  eval_mode: Optional[str] = None
  parallel_map: str = 'pmap'
  resident_data: str = 'replicated'

  def __post_init__(self):
    option_checks.require_fields(
        self, policy_lr=option_checks.POSITIVE,
        batch_size=option_checks.count(1),
        num_sgd_steps_per_step=option_checks.count(1))
    option_checks.require_choice(self, 'loss', ('mle', 'mse'))
    option_checks.require_choice(self, 'eval_mode', (None, 'mode', 'sample'))
    option_checks.require_choice(
        self, 'networks_init_type', networks.INIT_TYPES)

  @property
  def evaluation_mode(self) -> str:
    """The `eval_mode` in force."""
    return self.eval_mode or 'mode'
