"""Tests which critics an agent with given options takes."""

import dataclasses

from acme_msg import networks
from acme_msg.agents import msg
from acme_msg.agents.msg import config_checks
import pytest
import tiny


def _critic(**declared):
  """Critics of 4 members that declare something; they are never applied."""
  return networks.CriticEnsemble(
      num_members=4, init=None, apply=None,
      **{'representation': 'joint', **declared})


@pytest.mark.parametrize('options, critic', [
    ({}, _critic()),
    ({'batch_size': 8}, _critic(member_batches='split')),
    ({'td_target_method': 'shared_min'}, _critic()),
    ({'rem_mode': True}, _critic()),
    ({}, _critic(member_batches='shuffled')),
    ({}, _critic(representation=None)),
    ({'use_sass': True}, _critic()),
])
def test_critics_that_fit_are_accepted(options, critic):
  config_checks.validate_critic(
      msg.MSGConfig(ensemble_size=4, **options), critic)


@pytest.mark.parametrize('made, option, value', [
    (dict(), 'use_double_q', True), (dict(), 'ensemble_size', 2),
    (dict(), 'critic_network_hidden_sizes', (8,)),
    (dict(), 'networks_init_type', 'he_normal'),
    (dict(), 'critic_init_scale', 2.),
    (dict(), 'ensemble_method', 'multi_head'),
    (dict(ensemble_method='mimo', mimo_using_obs_tile=True,
          mimo_using_act_tile=True), 'mimo_using_act_tile', False),
    (dict(ensemble_method='batch_ensemble'), 'batch_split', False),
    (dict(ensemble_method='tree_deep_ensembles', ensemble_size=4,
          tree_branching=2, tree_depth=2), 'tree_width', 8),
])
def test_critics_made_with_other_options_are_refused(made, option, value):
  config = msg.MSGConfig(**{'ensemble_size': 4, **made})
  critic = tiny.make_networks(config).critic
  config_checks.validate_critic(config, critic)
  with pytest.raises(ValueError, match=f'{option}=.* made with {option}='):
    config_checks.validate_critic(
        dataclasses.replace(config, **{option: value}), critic)


@pytest.mark.parametrize('options, critic, fragment', [
    ({'ensemble_size': 5}, _critic(), 'num_members=4'),
    ({'batch_size': 6}, _critic(member_batches='split'), 'multiple'),
    ({'td_target_method': 'shared_min'}, _critic(member_batches='shuffled'),
     'different transitions'),
    ({'rem_mode': True}, _critic(member_batches='split'), 'rem_mode=False'),
    ({'use_sass': True}, _critic(representation=None), 'representation=None'),
    ({'num_q_repr_pretrain_iters': 1}, _critic(representation=None),
     'representation=None'),
])
def test_critics_that_do_not_fit_are_refused(options, critic, fragment):
  config = msg.MSGConfig(**{'ensemble_size': 4, **options})
  with pytest.raises(ValueError, match=fragment):
    config_checks.validate_critic(config, critic)
