"""Tests of builders for one ensemble, and of the baselines' settings."""

from acme_msg import builders
from acme_msg.agents import msg
import pytest

_BUILDERS = {
    'deep_ensembles': builders.DeepEnsembleBuilder,
    'tree_deep_ensembles': builders.TreeEnsembleBuilder,
    'mimo': builders.MIMOBuilder,
    'multi_head': builders.MultiHeadBuilder,
    'batch_ensemble': builders.BatchEnsembleBuilder,
}


@pytest.mark.parametrize('method', _BUILDERS)
def test_variant_builder_takes_its_own_options_only(method):
  sizes = dict(ensemble_size=4, tree_branching=2, tree_depth=2)
  config = msg.MSGConfig(ensemble_method=method, **sizes)
  assert _BUILDERS[method](config).config is config
  for other in set(_BUILDERS) - {method}:
    with pytest.raises(ValueError, match=f"'{other}', not '{method}'"):
      _BUILDERS[other](config)


def test_baselines_share_the_smallest_target():
  cql, sac_n = msg.CQLConfig(), msg.SACNConfig()
  assert (cql.ensemble_size, sac_n.ensemble_size) == (2, 10)
  assert {cql.td_target_method, sac_n.td_target_method} == {'shared_min'}
  assert (cql.behavior_regularization_type, cql.num_cql_actions,
          cql.behavior_regularization_alpha) == ('cql', 10, 5.)
  assert sac_n.behavior_regularization_type == 'none'
  assert (cql.num_bc_iters, sac_n.num_bc_iters) == (50_000, 0)
  assert builders.MSGBuilder(sac_n).config.evaluation_mode == 'mode'


@pytest.mark.parametrize('config_class', [msg.CQLConfig, msg.SACNConfig])
def test_baselines_check_their_options(config_class):
  with pytest.raises(ValueError, match='batch_size=0 must be an integer'):
    config_class(batch_size=0)
