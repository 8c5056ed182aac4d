"""Tests of the options: defaults, refusals and batch-ensemble names."""

import dataclasses
import re
import typing
from typing import Sequence
import warnings

from acme_msg.agents import bc
from acme_msg.agents import msg
import numpy as np
import pytest

_MIMO = dict(ensemble_method='mimo', mimo_using_obs_tile=True,
             mimo_using_act_tile=True)
_TREE = dict(ensemble_method='tree_deep_ensembles')
_BATCH_ENSEMBLE = dict(ensemble_method='batch_ensemble')
_COUNTS = (
    'batch_size', 'num_sgd_steps_per_step', 'ensemble_size', 'num_cql_actions',
    'num_eval_samples', 'tree_branching', 'tree_depth', 'tree_width')

_CONFIGS = (msg.MSGConfig, msg.BatchEnsembleMSGConfig, msg.CQLConfig,
            msg.SACNConfig, bc.BCConfig)

# Options and fragments of the message: what was found, what it contradicts and
# what to do.
_REFUSED = [
    # Values that only the reference implementation names.
    (dict(behavior_regularization_type='spec_norm'),
     ["behavior_regularization_type='spec_norm'", "'v1'"]),
    (dict(networks_init_type='Ilya'),
     ["networks_init_type='Ilya'", "'glorot_also_dist'"]),
    (dict(ensemble_method='efficient_tree_deep_ensembles'),
     ["ensemble_method='efficient_tree_deep_ensembles'",
      "use 'tree_deep_ensembles'"]),
    # Unknown values.
    (dict(ensemble_method='dropout'), ["ensemble_method='dropout'", "'mimo'"]),
    (dict(td_target_method='shared_max'),
     ["td_target_method='shared_max'", "'shared_lcb'"]),
    (dict(behavior_regularization_type='v4'),
     ["behavior_regularization_type='v4'", "'v3'"]),
    (dict(networks_init_type='zeros'),
     ["networks_init_type='zeros'", "'he_normal'"]),
    (dict(parallel_map='vmap'), ["parallel_map='vmap'", "'shard_map'"]),
    (dict(resident_data='host'), ["resident_data='host'", "'sharded'"]),
    (dict(eval_mode='greedy'), ["eval_mode='greedy'", "'q_filter'"]),
    (dict(std_ddof=2), ['std_ddof=2', '(0, 1)']),
    # Ranges.
    *(({name: 0}, [f'{name}=0', 'at least 1']) for name in _COUNTS),
    (dict(ensemble_size=16.), ['ensemble_size=16.0', 'an integer']),
    (dict(num_bc_iters=-1), ['num_bc_iters=-1', 'at least 0']),
    (dict(num_bc_iters=5e4), ['num_bc_iters=50000.0', 'an integer']),
    (dict(num_q_repr_pretrain_iters=-1),
     ['num_q_repr_pretrain_iters=-1', 'at least 0']),
    *(({name: 0.}, [f'{name}=0.0', 'greater than zero']) for name in (
        'policy_lr', 'q_lr', 'alpha_lr', 'pretrain_temp', 'critic_init_scale',
        'reward_scale')),
    (dict(policy_lr=float('nan')), ['policy_lr=nan', 'greater than zero']),
    (dict(behavior_regularization_alpha=-.1),
     ['behavior_regularization_alpha=-0.1', 'not be negative']),
    (dict(discount=1.1), ['discount=1.1', '[0, 1]']),
    (dict(tau=0.), ['tau=0.0', '(0, 1]']),
    (dict(beta=float('nan')), ['beta=nan', 'finite']),
    (dict(actor_network_hidden_sizes=()),
     ['actor_network_hidden_sizes=()', 'positive integers']),
    (dict(critic_network_hidden_sizes=(256, 0)),
     ['critic_network_hidden_sizes=(256, 0)', 'positive integers']),
    # Options of another variant.
    (dict(mimo_using_obs_tile=True),
     ['mimo_using_obs_tile', "'mimo'", "not 'deep_ensembles'", 'to False']),
    (dict(ensemble_method='multi_head', mimo_using_act_tile=True),
     ['mimo_using_act_tile', "'mimo'", "not 'multi_head'", 'to False']),
    (dict(mimo_using_adamw=True),
     ['mimo_using_adamw', "'multi_head'", "'deep_ensembles'", 'to False']),
    (dict(_TREE, ensemble_size=16),
     ['ensemble_size=16', '64 leaves', 'tree_branching=4', 'tree_depth=3',
      'change one']),
    (dict(_MIMO, critic_random_init=True),
     ['critic_random_init', "'mimo'", "ensemble_method='deep_ensembles'"]),
    (dict(_BATCH_ENSEMBLE, ensemble_size=6),
     ['batch_split', 'found 256', 'ensemble_size=6', 'batch_split=False']),
    # Options that need members with the same rows.
    *((dict(_MIMO, td_target_method=method),
       [f'td_target_method={method!r}', 'both tiles',
        "td_target_method='independent' or ensemble_method='multi_head'"])
      for method in ('shared_mean', 'shared_min', 'shared_lcb')),
    (dict(_BATCH_ENSEMBLE, td_target_method='shared_mean'),
     ["td_target_method='shared_mean'", 'batch_split=True',
      "td_target_method='independent' or batch_split=False"]),
    (dict(_MIMO, rem_mode=True),
     ['rem_mode', 'both tiles', "use ensemble_method='multi_head'"]),
    (dict(_BATCH_ENSEMBLE, rem_mode=True),
     ['rem_mode', 'batch_split=True', 'use batch_split=False']),
    # Other combinations.
    (dict(rem_mode=True, td_target_method='shared_min'),
     ['rem_mode', "td_target_method='independent'", "not 'shared_min'"]),
    (dict(_BATCH_ENSEMBLE, use_sass=True),
     ['use_sass', "'batch_ensemble'", "use 'deep_ensembles'"]),
    (dict(_MIMO, use_sass=True, num_q_repr_pretrain_iters=5),
     ['use_sass and num_q_repr_pretrain_iters', "'mimo'", "'multi_head'"]),
    (dict(ensemble_method='mimo', mimo_using_act_tile=True,
          num_q_repr_pretrain_iters=5),
     ['num_q_repr_pretrain_iters', "'mimo'", "'multi_head'"]),
    (dict(perform_sarsa_q_eval=True, behavior_regularization_type='v1'),
     ['perform_sarsa_q_eval', "behavior_regularization_type='none'",
      "not 'v1'"]),
    (dict(entropy_coefficient=.1, use_entropy_regularization=False),
     ['entropy_coefficient=0.1', 'use_entropy_regularization=False',
      'remove one']),
    (dict(entropy_coefficient=.1, target_entropy=-2.),
     ['entropy_coefficient=0.1', 'target_entropy=-2.0', 'remove one']),
    (dict(entropy_coefficient=-.1),
     ['entropy_coefficient=-0.1', 'not be negative']),
    (dict(target_entropy=0., use_entropy_regularization=False),
     ['target_entropy=0.0', 'use_entropy_regularization=False', 'remove one']),
    (dict(target_update_period=5),
     ['target_update_period=5', 'use_ema_target_critic_params=False']),
    (dict(target_update_period=0, use_ema_target_critic_params=False),
     ['target_update_period=0', 'at least 1']),
    (dict(beta=8), ['beta=8', 'positive', 'allow_optimism=True']),
    (dict(num_bc_iters=2**31 - 1, num_q_repr_pretrain_iters=1),
     ['num_bc_iters=2147483647', 'num_q_repr_pretrain_iters=1', '2,147,483,647'
     ]),
    (dict(batch_size=2**20, num_sgd_steps_per_step=2**12),
     ['batch_size=1048576', 'num_sgd_steps_per_step=4096', 'transitions']),
    (dict(_MIMO, batch_size=3), ['batch_size=3', 'at least 4 rows']),
    (dict(tree_depth=10**9), ['tree_depth=1000000000', 'at most 16']),
    (dict(ensemble_size=10**9), ['ensemble_size=1000000000', '65,536']),
    (dict(eval_with_q_filter=True, eval_mode='mode'),
     ['eval_with_q_filter=True', "eval_mode='mode'", 'remove one']),
]


@pytest.mark.parametrize('options, fragments', _REFUSED, ids=[
    '-'.join(map(str, options)) for options, _ in _REFUSED])
def test_refusals_say_what_to_do(options, fragments):
  with pytest.raises(ValueError) as error:
    msg.MSGConfig(**options)
  for fragment in fragments:
    assert fragment in str(error.value)


# Values that no option of a type takes, whatever its range.
_NOT_NUMBERS = ['1', b'1', True, np.bool_(True), [1], (), {}, 1j, object()]
_WRONG = {
    int: [*_NOT_NUMBERS, 1., np.float32(1), 0.5, float('nan'), 2**31, -2**31,
          2**63, None],
    float: [*_NOT_NUMBERS, float('nan'), float('inf'), -float('inf'), 1e39,
            -1e39, np.float32('nan'), np.float64('inf'), 10**400, None],
    bool: ['False', 'true', '', 0, 1, 1., None, [], np.int64(1)],
    str: ['nothing', '', 0, 1., True, None, b'mode', ['mode'], object()],
    Sequence[int]: [(), [], 256, '256', None, (256, 0), (-1,), (True,), (2.,),
                    ('8',), ((8,),), {8}, (2**31,), (8,) * 1000,
                    np.asarray([8])],
}


@pytest.mark.parametrize('config', _CONFIGS, ids=lambda c: c.__name__)
def test_wrong_types_and_ranges_are_refused_by_name(config):
  count = 0
  for name, hint in typing.get_type_hints(config).items():
    optional = type(None) in typing.get_args(hint)
    hint = typing.get_args(hint)[0] if optional else hint
    for value in _WRONG[hint]:
      if value is None and optional:
        continue
      with pytest.raises(ValueError, match=f'^{name}='):
        config(**{name: value})
      count += 1
  assert count > 80


@pytest.mark.parametrize('config', _CONFIGS, ids=lambda c: c.__name__)
def test_numpy_numbers_are_accepted_and_become_pythons(config):
  for name, hint in typing.get_type_hints(config).items():
    default = getattr(config(), name)
    kind = {int: np.int64, float: np.float32, bool: np.bool_}.get(hint)
    if kind is not None:
      found = getattr(config(**{name: kind(default)}), name)
      assert type(found) is hint and found == pytest.approx(default)
    elif hint == Sequence[int]:
      found = getattr(config(**{name: [np.int64(8), 4]}), name)
      assert found == (8, 4) and all(type(size) is int for size in found)
  hash(config(policy_lr=np.float64(1)))


def test_integers_for_floats_are_kept():
  # As old runs have recorded them.
  assert type(msg.MSGConfig(beta=-8).beta) is int


@pytest.mark.parametrize('options, unread', [
    (dict(), []), (dict(_TREE, ensemble_size=64, tree_width=8), []),
    (dict(_TREE, ensemble_size=64, critic_network_hidden_sizes=(8,)),
     ['critic_network_hidden_sizes']),
    (dict(tree_width=8, tree_depth=1), ['tree_depth', 'tree_width']),
    (dict(batch_split=False), ['batch_split']),
    (dict(td_target_method='shared_min', beta=-8.), ['beta']),
    (dict(td_target_method='shared_min', beta=-8., eval_mode='q_filter'), []),
    (dict(use_ema_target_critic_params=False, tau=0.1), ['tau']),
    (dict(perform_sarsa_q_eval=True, num_bc_iters=5, policy_lr=1.),
     ['num_bc_iters', 'policy_lr']),
    (dict(entropy_coefficient=0.1, alpha_lr=1.), ['alpha_lr']),
    (dict(behavior_regularization_alpha=.1, num_cql_actions=3),
     ['behavior_regularization_alpha', 'num_cql_actions']),
    (dict(pretrain_temp=2., num_eval_samples=3),
     ['pretrain_temp', 'num_eval_samples']),
    (dict(pretrain_temp=2., use_sass=True), []),
])
def test_options_without_effect_are_reported(options, unread):
  with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter('always')
    msg.MSGConfig(**options)
  assert [str(w.message).split('=')[0] for w in found] == unread
  assert all('has no effect with' in str(w.message) for w in found)
  assert all(w.filename == __file__ for w in found)


def test_defaults_of_the_agents_are_not_reported():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    for config in _CONFIGS:
      config()


@pytest.mark.parametrize('options', [
    _MIMO, dict(_MIMO, mimo_using_adamw=True),
    dict(ensemble_method='mimo', mimo_using_obs_tile=True,
         td_target_method='shared_min'),
    dict(ensemble_method='multi_head', td_target_method='shared_lcb',
         use_sass=True, rem_mode=False, mimo_using_adamw=True),
    dict(_TREE, ensemble_size=64, use_double_q=True, use_sass=True),
    dict(_TREE, ensemble_size=9, tree_branching=3, tree_depth=2),
    dict(_BATCH_ENSEMBLE, batch_split=False, td_target_method='shared_mean'),
    dict(_BATCH_ENSEMBLE, batch_split=False, rem_mode=True),
    dict(_BATCH_ENSEMBLE, batch_split=False, ensemble_size=6),
    dict(critic_random_init=True, rem_mode=True),
    dict(entropy_coefficient=0.), dict(target_entropy=-3.),
    dict(target_update_period=5, use_ema_target_critic_params=False),
    # A recipe of the reference implementation: `num_cql_actions` has no effect
    # on type 'v1', but is not refused.
    dict(ensemble_size=64, beta=-8., behavior_regularization_type='v1',
         behavior_regularization_alpha=.1, num_cql_actions=1,
         num_sgd_steps_per_step=200, num_eval_samples=32),
])
def test_valid_combinations_are_accepted(options):
  config = msg.MSGConfig(**options)
  for name, value in options.items():
    assert getattr(config, name) == value


def test_defaults_are_those_of_the_reference_implementation():
  expected = dict(
      # docs/msg.md 11.1.
      policy_lr=3e-5, q_lr=3e-4, alpha_lr=3e-4, discount=.99, tau=.005,
      reward_scale=1., num_sgd_steps_per_step=1,
      ensemble_method='deep_ensembles', ensemble_size=16, use_double_q=False,
      mimo_using_obs_tile=False, mimo_using_act_tile=False,
      mimo_using_adamw=False, beta=-1., td_target_method='independent',
      rem_mode=False, perform_sarsa_q_eval=False,
      use_ema_target_critic_params=True,
      use_random_weighting_in_critic_loss=True,
      behavior_regularization_type='none', behavior_regularization_alpha=1.,
      num_cql_actions=2, num_bc_iters=50_000, num_q_repr_pretrain_iters=0,
      pretrain_temp=1., use_sass=False, use_entropy_regularization=True,
      entropy_coefficient=None, actor_network_hidden_sizes=(256, 256),
      critic_network_hidden_sizes=(256, 256),
      networks_init_type='glorot_also_dist', critic_random_init=False,
      critic_init_scale=1., eval_with_q_filter=False, num_eval_samples=10,
      tree_branching=4, tree_depth=3, tree_width=256, batch_size=256,
      allow_optimism=False,
      # Options of this project. Only `std_ddof` differs from the reference
      # implementation, which uses 1 for MIMO and trees.
      batch_split=True, std_ddof=0, target_entropy=None,
      target_update_period=None, eval_mode=None, parallel_map='pmap',
      resident_data='replicated')
  assert dataclasses.asdict(msg.MSGConfig()) == expected


def test_batch_ensemble_defaults_are_those_of_the_reference_implementation():
  assert dataclasses.asdict(msg.BatchEnsembleMSGConfig()) == dict(
      # docs/msg.md 11.2.
      policy_lr=3e-5, q_lr=3e-4, use_double_q=True, ensemble_size=16, beta=-1.,
      behavior_regularization_type='none', behavior_regularization_alpha=1.,
      num_bc_iters=50_000, use_random_weighting_in_critic_loss=True,
      actor_hidden_sizes=(256, 256), q_hidden_sizes=(256, 256),
      num_sgd_steps_per_step=1,
      # Options of this project.
      allow_optimism=False,
      batch_size=256, batch_split=True, entropy_coefficient=None,
      target_entropy=None, eval_mode=None, parallel_map='pmap',
      resident_data='replicated')


def test_every_batch_ensemble_field_reaches_the_msg_config():
  values = dict(
      policy_lr=.1, q_lr=.2, use_double_q=False, ensemble_size=8, beta=3.,
      allow_optimism=True,
      behavior_regularization_type='v1', behavior_regularization_alpha=.3,
      num_bc_iters=7, use_random_weighting_in_critic_loss=False,
      entropy_coefficient=.4, actor_hidden_sizes=(5,), q_hidden_sizes=(6, 7),
      num_sgd_steps_per_step=3, batch_size=24, batch_split=False,
      eval_mode='sample', target_entropy=None, parallel_map='shard_map',
      resident_data='sharded')
  names = dict(actor_hidden_sizes='actor_network_hidden_sizes',
               q_hidden_sizes='critic_network_hidden_sizes')
  fields = {
      f.name: f.default for f in dataclasses.fields(msg.BatchEnsembleMSGConfig)}
  assert values.keys() == fields.keys()
  for changes in (values, dict(target_entropy=-1.5)):
    config = msg.BatchEnsembleMSGConfig(**changes).to_msg_config()
    expected = msg.MSGConfig(ensemble_method='batch_ensemble', **{
        names.get(name, name): value
        for name, value in {**fields, **changes}.items()})
    assert config == expected
    # Other options have the defaults of `MSGConfig`.
    for name in ('tau', 'discount', 'td_target_method', 'use_sass'):
      assert getattr(config, name) == getattr(msg.MSGConfig(), name)
  assert all(value != fields[name] for name, value in values.items()
             if name != 'target_entropy')


def test_batch_ensemble_refuses_at_construction():
  with pytest.raises(ValueError, match='ensemble_size=6.*batch_split=False'):
    msg.BatchEnsembleMSGConfig(ensemble_size=6)


@pytest.mark.parametrize('options, mode', [
    (dict(), 'sample'), (_BATCH_ENSEMBLE, 'mode'),
    (dict(eval_mode='mode'), 'mode'),
    (dict(_BATCH_ENSEMBLE, eval_mode='sample'), 'sample'),
    (dict(eval_with_q_filter=True), 'q_filter'),
    (dict(eval_with_q_filter=True, eval_mode='q_filter'), 'q_filter')])
def test_evaluation_mode(options, mode):
  assert msg.MSGConfig(**options).evaluation_mode == mode


def test_options_with_next_actions():
  assert msg.MSGConfig().options_with_next_actions == ()
  assert msg.MSGConfig(
      use_sass=True, num_q_repr_pretrain_iters=1, perform_sarsa_q_eval=True,
  ).options_with_next_actions == (
      'use_sass', 'num_q_repr_pretrain_iters', 'perform_sarsa_q_eval')


@pytest.mark.parametrize('config', [
    msg.MSGConfig(), msg.BatchEnsembleMSGConfig(), msg.CQLConfig(),
    msg.SACNConfig(), bc.BCConfig()], ids=lambda config: type(config).__name__)
def test_configs_are_frozen(config):
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.policy_lr = 1.
  assert dataclasses.replace(config, policy_lr=1.).policy_lr == 1.


def test_every_option_is_documented():
  for config in (msg.MSGConfig, msg.BatchEnsembleMSGConfig):
    attributes, _ = config.__doc__.split('  Raises:')
    documented = set(re.findall(r'^    (\w+):', attributes, re.MULTILINE))
    fields = {field.name for field in dataclasses.fields(config)}
    inherited = (
        set() if config is msg.MSGConfig else
        {field.name for field in dataclasses.fields(msg.MSGConfig)})
    assert documented <= fields and fields <= documented | inherited
