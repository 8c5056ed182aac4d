"""MSG config."""

import dataclasses
from typing import Optional, Sequence, Tuple

from . import config_checks
from .. import option_checks


@dataclasses.dataclass(frozen=True)
class MSGConfig:
  """Configuration options for MSG.

  Defaults are those of the reference implementation; see docs/msg.md 11.1.

  Attributes:
    policy_lr: learning rate of the policy.
    q_lr: learning rate of the critics.
    alpha_lr: learning rate of the entropy temperature.
    discount: discount applied at every step.
    tau: rate at which targets follow critics in each gradient step.
    reward_scale: multiplies rewards.
    batch_size: B, transitions per gradient step.
    num_sgd_steps_per_step: S, gradient steps per learner step; they run as one
      compiled program.
    ensemble_method: 'deep_ensembles', 'tree_deep_ensembles', 'mimo',
      'multi_head' ('mimo' without tiles) or 'batch_ensemble'.
    ensemble_size: N, the number of members.
    use_double_q: whether each member is the smaller of two networks.
    mimo_using_obs_tile: whether MIMO's input has one observation per member.
    mimo_using_act_tile: whether MIMO's input has one action per member. Members
      see different rows only if both are tiled.
    mimo_using_adamw: whether MIMO and multi-head critics use AdamW (decay
      1e-3).
    tree_branching: children of each node of a tree.
    tree_depth: levels of a tree; `tree_branching ** tree_depth` must be N.
    tree_width: units of each node.
    batch_split: whether batch-ensemble members see B/N rows each, else B.
    beta: coefficient of the ensemble's standard deviation in the policy's
      objective, sign included: negative is pessimistic.
    allow_optimism: whether `beta` may be positive.
    std_ddof: delta degrees of freedom of that standard deviation.
    td_target_method: 'independent' (MSG), 'shared_mean', 'shared_min' or
      'shared_lcb'; see `losses.shared_td_target`.
    rem_mode: whether critics learn a random mixture of members (REM).
    perform_sarsa_q_eval: whether critics evaluate the policy that made the
      data, and nothing else learns.
    use_ema_target_critic_params: whether targets follow critics at rate `tau`;
      else they are copied every `target_update_period` gradient steps.
    target_update_period: gradient steps between copies; None is
      `num_sgd_steps_per_step`.
    use_random_weighting_in_critic_loss: whether squared errors are weighted by
      random numbers from U(0, 2).
    behavior_regularization_type: 'none', 'v1', 'v1_prime', 'v2', 'v3' or 'cql';
      see `losses.behavior_regularizer`.
    behavior_regularization_alpha: weight of the regulariser.
    num_cql_actions: m; type 'cql' draws m actions from the policy and m uniform
      ones.
    num_bc_iters: gradient steps in which the policy clones behaviour.
    num_q_repr_pretrain_iters: gradient steps before behaviour cloning in which
      only the critics' representations learn (SASS).
    pretrain_temp: temperature of the SASS loss.
    use_sass: whether the critic loss includes the SASS loss.
    use_entropy_regularization: whether the policy's objective has an entropy
      bonus.
    entropy_coefficient: fixed coefficient of the bonus; None adapts it.
    target_entropy: entropy that the adapted coefficient aims at, in nats; None
      is minus the number of action dimensions.
    actor_network_hidden_sizes: hidden layers of the policy.
    critic_network_hidden_sizes: hidden layers of each critic.
    networks_init_type: see `networks.initializers.make`.
    critic_random_init: whether each deep-ensemble member draws its own
      initialiser.
    critic_init_scale: multiplies the variance of the critics' initial weights.
    eval_mode: how evaluators act: 'sample', 'mode' or 'q_filter' (the best of
      sampled actions); None is 'mode' for batch ensembles, else 'sample'.
    eval_with_q_filter: the reference implementation's option for
      `eval_mode='q_filter'`.
    num_eval_samples: number of candidates that the q-filter draws from the
      policy, and as many uniform ones.
    parallel_map: how JAX runs one program on all devices, 'pmap' or
      'shard_map'.
    resident_data: 'replicated' puts the whole dataset on each device,
      'sharded' a part of it, for datasets too large for one device.

  Raises:
    ValueError: if an option has an invalid value or contradicts another; the
      message names options and values.
  """
  # Optimisation.
  policy_lr: float = 3e-5
  q_lr: float = 3e-4
  alpha_lr: float = 3e-4
  discount: float = 0.99
  tau: float = 0.005
  reward_scale: float = 1.0
  batch_size: int = 256
  num_sgd_steps_per_step: int = 1

  # Ensemble.
  ensemble_method: str = 'deep_ensembles'
  ensemble_size: int = 16
  use_double_q: bool = False
  mimo_using_obs_tile: bool = False
  mimo_using_act_tile: bool = False
  mimo_using_adamw: bool = False
  tree_branching: int = 4
  tree_depth: int = 3
  tree_width: int = 256
  batch_split: bool = True

  # Policy's objective and critics' targets.
  beta: float = -1.0
  allow_optimism: bool = False
  std_ddof: int = 0
  td_target_method: str = 'independent'
  rem_mode: bool = False
  perform_sarsa_q_eval: bool = False
  use_ema_target_critic_params: bool = True
  target_update_period: Optional[int] = None
  use_random_weighting_in_critic_loss: bool = True
  behavior_regularization_type: str = 'none'
  behavior_regularization_alpha: float = 1.0
  num_cql_actions: int = 2

  # Phases.
  num_bc_iters: int = 50_000
  num_q_repr_pretrain_iters: int = 0
  pretrain_temp: float = 1.0
  use_sass: bool = False

  # Entropy.
  use_entropy_regularization: bool = True
  entropy_coefficient: Optional[float] = None
  target_entropy: Optional[float] = None

  # Networks.
  actor_network_hidden_sizes: Sequence[int] = (256, 256)
  critic_network_hidden_sizes: Sequence[int] = (256, 256)
  networks_init_type: str = 'glorot_also_dist'
  critic_random_init: bool = False
  critic_init_scale: float = 1.0

  # Evaluation.
  eval_mode: Optional[str] = None
  eval_with_q_filter: bool = False
  num_eval_samples: int = 10

  # Execution.
  parallel_map: str = 'pmap'
  resident_data: str = 'replicated'

  def __post_init__(self):
    config_checks.validate(self)

  @property
  def options_with_next_actions(self) -> Tuple[str, ...]:
    """Names of the enabled options that need the data's next actions."""
    return tuple(
        name for name in (
            'use_sass', 'num_q_repr_pretrain_iters', 'perform_sarsa_q_eval')
        if getattr(self, name))

  @property
  def evaluation_mode(self) -> str:
    """The effective `eval_mode` (docs/msg.md 7.1)."""
    if self.eval_with_q_filter:
      return 'q_filter'
    if self.eval_mode is not None:
      return self.eval_mode
    return 'mode' if self.ensemble_method == 'batch_ensemble' else 'sample'


@dataclasses.dataclass(frozen=True)
class BatchEnsembleMSGConfig:
  """Options for batch ensembles, as the reference implementation names them.

  Fields have the meaning that they have in `MSGConfig`. Defaults are those of
  the reference implementation's batch-ensemble agent; see docs/msg.md 11.2.

  Attributes:
    actor_hidden_sizes: `MSGConfig.actor_network_hidden_sizes`.
    q_hidden_sizes: `MSGConfig.critic_network_hidden_sizes`.

  Raises:
    ValueError: as `MSGConfig` does.
  """
  policy_lr: float = 3e-5
  q_lr: float = 3e-4
  use_double_q: bool = True
  ensemble_size: int = 16
  beta: float = -1.0
  allow_optimism: bool = False
  behavior_regularization_type: str = 'none'
  behavior_regularization_alpha: float = 1.0
  num_bc_iters: int = 50_000
  use_random_weighting_in_critic_loss: bool = True
  entropy_coefficient: Optional[float] = None
  target_entropy: Optional[float] = None
  actor_hidden_sizes: Sequence[int] = (256, 256)
  q_hidden_sizes: Sequence[int] = (256, 256)
  num_sgd_steps_per_step: int = 1
  batch_size: int = 256
  batch_split: bool = True
  eval_mode: Optional[str] = None
  parallel_map: str = 'pmap'
  resident_data: str = 'replicated'

  def __post_init__(self):
    option_checks.require_fields(self, **config_checks.RANGES)
    self.to_msg_config()  # Checks their combinations.

  def to_msg_config(self) -> MSGConfig:
    """Returns the same options as an `MSGConfig`."""
    options = dataclasses.asdict(self)
    return MSGConfig(
        ensemble_method='batch_ensemble',
        actor_network_hidden_sizes=options.pop('actor_hidden_sizes'),
        critic_network_hidden_sizes=options.pop('q_hidden_sizes'),
        **options)
