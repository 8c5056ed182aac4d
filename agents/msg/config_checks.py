"""Checks of option values and of combinations of options."""

import math

from . import unread_options
from .. import option_checks
from ... import networks

TD_TARGET_METHODS = ('independent', 'shared_mean', 'shared_min', 'shared_lcb')
REGULARIZATION_TYPES = ('none', 'v1', 'v1_prime', 'v2', 'v3', 'cql')
# Memory of the critics' training state, over all devices.
_MAX_TERABYTES = 100
EVAL_MODES = ('sample', 'mode', 'q_filter')


RANGES = dict(
    policy_lr=option_checks.POSITIVE,
    q_lr=option_checks.POSITIVE,
    alpha_lr=option_checks.POSITIVE,
    pretrain_temp=option_checks.POSITIVE,
    critic_init_scale=option_checks.POSITIVE,
    reward_scale=option_checks.POSITIVE,
    behavior_regularization_alpha=option_checks.NOT_NEGATIVE,
    entropy_coefficient=option_checks.NOT_NEGATIVE,
    discount=option_checks.FRACTION,
    tau=option_checks.RATE,
    ensemble_size=option_checks.MEMBERS,
    tree_branching=option_checks.MEMBERS,
    tree_depth=option_checks.count(1, 16),
    tree_width=option_checks.MEMBERS,
    batch_size=option_checks.count(1),
    num_sgd_steps_per_step=option_checks.count(1),
    num_cql_actions=option_checks.count(1, 10_000),
    num_eval_samples=option_checks.count(1, 1_000_000),
    num_bc_iters=option_checks.count(0),
    num_q_repr_pretrain_iters=option_checks.count(0),
    target_update_period=option_checks.count(1))


def _validate_ranges(config):
  option_checks.require_fields(config, **RANGES)
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
  option_checks.require(
      config.beta <= 0 or config.allow_optimism,
      f'beta={config.beta} is positive: the policy would prefer actions that '
      'the critics disagree on. Use a negative beta, or set '
      'allow_optimism=True.')
  steps = config.num_bc_iters + config.num_q_repr_pretrain_iters
  option_checks.require(
      steps <= option_checks.MAX_INT,
      f'num_bc_iters={config.num_bc_iters} and num_q_repr_pretrain_iters='
      f'{config.num_q_repr_pretrain_iters} are {steps:,} gradient steps '
      f'together; at most {option_checks.MAX_INT:,} are counted.')
  if config.ensemble_method == 'tree_deep_ensembles':
    weights = config.ensemble_size * config.tree_width**2
  else:
    sizes = config.critic_network_hidden_sizes
    members = (1 if config.ensemble_method in ('mimo', 'multi_head')
               else config.ensemble_size)
    weights = members * sum(map(math.prod, zip(sizes, sizes[1:])))
  # Parameters, targets and Adam's two moments.
  terabytes = 16e-12 * weights * (1 + config.use_double_q)
  option_checks.require(
      terabytes < _MAX_TERABYTES,
      f'ensemble_size={config.ensemble_size}: critics of these sizes need '
      f'{terabytes:,.0f} TB in all; use fewer or smaller ones.')
  rows = config.batch_size * config.num_sgd_steps_per_step
  option_checks.require(
      rows <= option_checks.MAX_INT,
      f'batch_size={config.batch_size} times num_sgd_steps_per_step='
      f'{config.num_sgd_steps_per_step} are {rows:,} transitions in each '
      f'learner step; at most {option_checks.MAX_INT:,} are possible.')


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
  option_checks.require(
      not shuffled or config.batch_size >= 4,
      f'batch_size={config.batch_size}: MIMO with both tiles shuffles half of '
      'the rows for each member, which needs at least 4 rows. Use a larger '
      'batch_size.')
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
      config.ensemble_method == 'batch_ensemble' and config.batch_split or
      config.mimo_using_obs_tile or config.mimo_using_act_tile)
  option_checks.require(
      not (sass and no_sass),
      f'{" and ".join(sass)}: SASS needs features of all (s, a) pairs of the '
      f'batch, which {config.ensemble_method!r} (with tiles, or with '
      "batch_split=True) does not have; use 'deep_ensembles', "
      "'tree_deep_ensembles', 'multi_head' or batch_split=False.")
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
  option_checks.require(
      config.use_entropy_regularization or config.target_entropy is None,
      f'target_entropy={config.target_entropy} has no effect with '
      'use_entropy_regularization=False; remove one.')
  if config.target_update_period is not None:
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
  """Checks an `MSGConfig`.

  Args:
    config: the options. NumPy's numbers become Python's, lists become tuples.

  Raises:
    ValueError: naming options and values.
  """
  _validate_ranges(config)
  _validate_variant(config)
  _validate_combinations(config)
  unread_options.warn(config)


def validate_critic(config, critic: networks.CriticEnsemble):
  """Checks critics, which may be a user's, against the options.

  Args:
    config: an `MSGConfig`.
    critic: the critics to train.

  Raises:
    ValueError: if they contradict each other; the message names the option and
      the critics' attribute.
  """
  for name, value in (critic.made_with or {}).items():
    wanted = getattr(config, name)
    option_checks.require(
        value == wanted,
        f'{name}={wanted!r}, but the critics were made with {name}={value!r}; '
        'make them from the same config.')
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
