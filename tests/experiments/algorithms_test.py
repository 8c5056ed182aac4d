"""Tests the options of algorithms from gin: accepted and refused bindings."""

from acme_msg.experiments import gin_options
from acme_msg.experiments import settings
import pytest

_S = 'msg.config.MSGConfig.num_sgd_steps_per_step'


def _config(*bindings, configs=(), algorithm='msg'):
  gin_options.parse(configs, bindings)
  return settings.make_agent(settings.AgentConfig(algorithm)).config


def test_last_binding_wins():
  assert _config(f'{_S}=20', f'{_S}=3').num_sgd_steps_per_step == 3


def test_parsing_forgets_earlier_bindings():
  _config('msg.config.MSGConfig.beta=-8')
  assert _config().beta == -1


@pytest.mark.parametrize('binding, words', [
    ('msg.config.MSGConfig.beat=-8', "doesn't have a parameter named 'beat'"),
    ('msg.config.MSGKonfig.beta=-8', 'No configurable matching'),
    ('msg.config.MSGConfig.beta=-', 'Unable to parse value'),
    ('msg.config.MSGConfig.beta', 'beta'),
    ('msg.config.MSGConfig.use_img_encoder=True',
     'image encoders are not supported'),
    ('msg.config.MSGConfig.img_encoder_params_ckpt_path=""',
     'image encoders are not supported'),
])
def test_binding_of_no_parameter_is_refused(binding, words):
  with pytest.raises(ValueError, match=words) as error:
    _config(binding)
  assert f'--gin_bindings={binding!r}' in str(error.value)


@pytest.mark.parametrize('binding, words', [
    ('beta=-8', r"\['beta'\] name no parameter"),
    ('msg.config.MSGConfig.beta=%nothing', r"\['nothing'\] .* not defined"),
    ('msg.config.MSGConfig.beta="-8"', "beta='-8' must be a finite number"),
    ('msg.config.MSGConfig.ensemble_size=4.', '=4.0 must be an integer'),
    ('msg.config.MSGConfig.ensemble_size=True', '=True must be an integer'),
    ('msg.config.MSGConfig.use_sass="False"', "'False' must be a bool"),
    ('msg.config.MSGConfig.use_sass=0', 'use_sass=0 must be a bool'),
    ('msg.config.MSGConfig.actor_network_hidden_sizes=256', '=256 must be'),
    ('msg.config.MSGConfig.target_entropy="auto"', "='auto' must be"),
    ('msg.config.MSGConfig.ensemble_method="trees"', 'is not one of'),
    ('bc.config.BCConfig.policy_lr=1e-3',
     'policy_lr are for --algorithm=bc, but --algorithm=msg was asked for'),
])
def test_binding_of_no_use_is_refused(binding, words):
  with pytest.raises(ValueError, match=words):
    _config(binding)


def test_bindings_of_all_types_are_taken():
  config = _config(
      'SIZE=16', 'msg.config.MSGConfig.actor_network_hidden_sizes=[%SIZE, 8]',
      'MSGConfig.target_entropy=-3', 'MSGConfig.eval_mode=None',
      'MSGConfig.q_lr=1')
  assert list(config.actor_network_hidden_sizes) == [16, 8]
  assert (config.target_entropy, config.eval_mode, config.q_lr) == (-3, None, 1)


def test_missing_gin_file_lists_the_recipes(tmp_path):
  with pytest.raises(ValueError, match=r'(?s)nothing\.gin.*pointmaze\.gin'):
    _config(configs=['nothing.gin'])
  path = tmp_path / 'mine.gin'
  path.write_text('msg.config.MSGConfig.beat = 1')
  with pytest.raises(ValueError, match=f"--gin_configs='{path}'.*'beat'"):
    _config(configs=[str(path)])


def test_bindings_come_after_files(tmp_path):
  path = tmp_path / 'mine.gin'
  path.write_text("include 'antmaze.gin'\nmsg.config.MSGConfig.beta = -2")
  config = _config(f'{_S}=5', configs=[str(path)])
  assert (config.beta, config.num_sgd_steps_per_step) == (-2, 5)
  assert config.ensemble_size == 64


def test_recipes_of_the_variants_are_different():
  methods = [
      _config(configs=[f'antmaze{variant}.gin']).ensemble_method
      for variant in ('', '_tree', '_mimo', '_multi_head', '_batch_ensemble')]
  assert methods == [
      'deep_ensembles', 'tree_deep_ensembles', 'mimo', 'multi_head',
      'batch_ensemble']


def test_batch_ensembles_have_two_names():
  prefix = 'batch_ensemble_msg.config.BatchEnsembleMSGConfig.'
  config = _config(
      f'{prefix}ensemble_size=4', f'{prefix}q_hidden_sizes=(8,)',
      algorithm='batch_ensemble_msg')
  assert config.ensemble_method == 'batch_ensemble'
  assert config.critic_network_hidden_sizes == (8,)
  with pytest.raises(ValueError, match='ensemble_size are for --algorithm=bat'):
    _config(f'{prefix}ensemble_size=4')
