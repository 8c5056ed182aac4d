"""Checks of option values and of combinations of options."""

import math

from .. import option_checks
from ... import networks

TD_TARGET_METHODS = ('independent', 'shared_mean', 'shared_min', 'shared_lcb')
REGULARIZATION_TYPES = ('none', 'v1', 'v1_prime', 'v2', 'v3', 'cql')
EVAL_MODES = ('sample', 'mode', 'q_filter')


def _validate_ranges(config):
  option_checks.require(
      config.behavior_regularization_type != 'spec_norm',
      "behavior_regularization_type='spec_norm' is not part of MSG; use one of "
      f'{REGULARIZATION_TYPES}.')
  option_checks.require(
      config.networks_init_type != 'Ilya',
      "networks_init_type='Ilya' is not implemented; use one of "
      f'{networks.INIT_TYPES}.')
  option_checks.require(
      config.ensemble_method != 'efficient_tree_deep_ensembles',
      "ensemble_method='efficient_tree_deep_ensembles' is not implemented; "
      "use 'tree_deep_ensembles'.")
  option_checks.require_choice(
      config, 'ensemble_method', networks.ENSEMBLE_METHODS)
  option_checks.require_choice(config, 'td_target_method', TD_TARGET_METHODS)
  option_checks.require_choice(
      config, 'behavior_regularization_type', REGULARIZATION_TYPES)
  option_checks.require_choice(
      config, 'networks_init_type', networks.INIT_TYPES)
  option_checks.require_choice(config, 'eval_mode', (None,) + EVAL_MODES)
  option_checks.require_choice(config, 'std_ddof', (0, 1))
  option_checks.require_execution(config)
  option_checks.require_positive(
      config, 'policy_lr', 'q_lr', 'alpha_lr', 'pretrain_temp',
      'critic_init_scale', 'reward_scale')
  option_checks.require_counts(
      config, 1, 'batch_size', 'num_sgd_steps_per_step', 'ensemble_size',
      'num_cql_actions', 'num_eval_samples', 'tree_branching', 'tree_depth',
      'tree_width')
  option_checks.require_counts(
      config, 0, 'num_bc_iters', 'num_q_repr_pretrain_iters')
  option_checks.require_not_negative(config, 'behavior_regularization_alpha')
  option_checks.require(0 <= config.discount <= 1,
                        f'discount={config.discount} is not in [0, 1].')
  option_checks.require(0 < config.tau <= 1,
                        f'tau={config.tau} is not in (0, 1].')
  option_checks.require(math.isfinite(config.beta),
                        f'beta={config.beta} must be a finite number.')
  option_checks.require_hidden_sizes(
      config, 'actor_network_hidden_sizes', 'critic_network_hidden_sizes')


def _validate_variant(config):
  method = config.ensemble_method
  mimo = method in ('mimo', 'multi_head')
  tiled = config.mimo_using_obs_tile or config.mimo_using_act_tile
  shuffled = config.mimo_using_obs_tile and config.mimo_using_act_tile
  split = method == 'batch_ensemble' and config.batch_split
  option_checks.require(
      not tiled or method == 'mimo',
      'mimo_using_obs_tile and mimo_using_act_tile need '
      f"ensemble_method='mimo', not {method!r}; set them to False.")
  option_checks.require(
      mimo or not config.mimo_using_adamw,
      "mimo_using_adamw needs ensemble_method='mimo' or 'multi_head', not "
      f'{method!r}; set it to False.')
  if method == 'tree_deep_ensembles':
    leaves = config.tree_branching ** config.tree_depth
    option_checks.require(
        leaves == config.ensemble_size,
        f'ensemble_size={config.ensemble_size}, but a tree with tree_branching='
        f'{config.tree_branching} and tree_depth={config.tree_depth} has '
        f'{leaves} leaves; change one of the three.')
  option_checks.require(
      not config.critic_random_init or method == 'deep_ensembles',
      'critic_random_init draws an initialiser for each separate network, which'
      f" {method!r} does not have; use ensemble_method='deep_ensembles'.")
  if split:
    option_checks.require(
        config.batch_size % config.ensemble_size == 0,
        f'batch_split needs a batch_size (found {config.batch_size}) that is a '
        f'multiple of ensemble_size={config.ensemble_size}; change one, or set '
        'batch_split=False.')
  own_rows = None
  if shuffled:
    own_rows = ("ensemble_method='mimo' with both tiles",
                "ensemble_method='multi_head'")
  if split:
    own_rows = ('batch_split=True', 'batch_split=False')
  if own_rows:
    found, instead = own_rows
    option_checks.require(
        config.td_target_method == 'independent',
        f'td_target_method={config.td_target_method!r} needs members that see '
        f'the same transitions, but with {found} they see different ones; use '
        f"td_target_method='independent' or {instead}.")
    option_checks.require(
        not config.rem_mode,
        'rem_mode needs members that see the same transitions, but with '
        f'{found} they see different ones; use {instead}.')


def _validate_combinations(config):
  option_checks.require(
      not (config.rem_mode and config.td_target_method != 'independent'),
      "rem_mode needs td_target_method='independent', not "
      f'{config.td_target_method!r}.')
  sass = [name for name in ('use_sass', 'num_q_repr_pretrain_iters')
          if getattr(config, name)]
  no_sass = (
      config.ensemble_method == 'batch_ensemble' or
      config.mimo_using_obs_tile or config.mimo_using_act_tile)
  option_checks.require(
      not (sass and no_sass),
      f'{" and ".join(sass)}: SASS needs features of single (s, a) pairs, '
      f'which {config.ensemble_method!r} (with tiles) does not have; use '
      "'deep_ensembles', 'tree_deep_ensembles' or 'multi_head'.")
  option_checks.require(
      not (config.perform_sarsa_q_eval and
           config.behavior_regularization_type != 'none'),
      "perform_sarsa_q_eval needs behavior_regularization_type='none', not "
      f'{config.behavior_regularization_type!r}.')
  if config.entropy_coefficient is not None:
    option_checks.require(
        config.use_entropy_regularization,
        f'entropy_coefficient={config.entropy_coefficient} has no effect with '
        'use_entropy_regularization=False; remove one.')
    option_checks.require(
        config.target_entropy is None,
        f'entropy_coefficient={config.entropy_coefficient} fixes the '
        f'coefficient and target_entropy={config.target_entropy} adapts it; '
        'remove one.')
    option_checks.require_not_negative(config, 'entropy_coefficient')
  option_checks.require(
      config.use_entropy_regularization or config.target_entropy is None,
      f'target_entropy={config.target_entropy} has no effect with '
      'use_entropy_regularization=False; remove one.')
  if config.target_update_period is not None:
    option_checks.require_counts(config, 1, 'target_update_period')
    option_checks.require(
        not config.use_ema_target_critic_params,
        f'target_update_period={config.target_update_period} needs '
        'use_ema_target_critic_params=False; set that or remove it.')
  option_checks.require(
      not (config.eval_with_q_filter and
           config.eval_mode not in (None, 'q_filter')),
      f'eval_with_q_filter=True contradicts eval_mode={config.eval_mode!r}; '
      'remove one.')


def validate(config):
  """Checks an `MSGConfig`; raises ValueError naming options and values."""
  _validate_ranges(config)
  _validate_variant(config)
  _validate_combinations(config)


def validate_critic(config, critic: networks.CriticEnsemble):
  """Checks critics, which may be a user's, against the options.

  Args:
    config: an `MSGConfig`.
    critic: the critics to train.

  Raises:
    ValueError: if they contradict each other; the message names the option and
      the critics' attribute.
  """
  option_checks.require(
      config.ensemble_size == critic.num_members,
      f'ensemble_size={config.ensemble_size}, but the critics have num_members='
      f'{critic.num_members}; make them equal.')
  option_checks.require(
      critic.member_batches != 'split'
      or config.batch_size % critic.num_members == 0,
      f"Critics with member_batches='split' need a batch_size (found "
      f'{config.batch_size}) that is a multiple of their {critic.num_members} '
      'members.')
  option_checks.require(
      critic.member_batches == 'same'
      or config.td_target_method == 'independent' and not config.rem_mode,
      f'Critics with member_batches={critic.member_batches!r} see different '
      "transitions; they need td_target_method='independent' (found "
      f'{config.td_target_method!r}) and rem_mode=False (found '
      f'{config.rem_mode}).')
  option_checks.require(
      critic.representation is not None
      or not (config.use_sass or config.num_q_repr_pretrain_iters),
      'use_sass and num_q_repr_pretrain_iters need critics with a '
      'representation; these have representation=None.')
