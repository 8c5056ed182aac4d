"""The MSG builder, for all variants."""

from typing import Sequence

from acme import specs

from . import offline_builder
from .. import networks as networks_lib
from ..agents import msg
from ..agents.msg import acting
from ..agents.msg import learning

# Smallest scale of the batch-ensemble agent's policy (docs/msg.md 5.1).
_BATCH_ENSEMBLE_MIN_SCALE = 1e-3


def make_msg_networks(spec: specs.EnvironmentSpec,
                  config: msg.MSGConfig) -> networks_lib.MSGNetworks:
  """Makes the networks that a config describes (docs/msg.md 5).

  Args:
    spec: the environment's spec; observations and actions are vectors `[O]` and
      `[A]`, with actions in [-1, 1].
    config: the agent's options.

  Raises:
    ValueError: if the spec does not have this form.
  """
  observation_size, action_size = offline_builder.flat_sizes(spec)
  policy_options = {}
  if config.ensemble_method == 'batch_ensemble':
    policy_options['min_scale'] = _BATCH_ENSEMBLE_MIN_SCALE
  return networks_lib.MSGNetworks(
      policy=networks_lib.make_policy(
          observation_size, action_size, config.actor_network_hidden_sizes,
          config.networks_init_type, **policy_options),
      critic=networks_lib.make_critic(
          observation_size, action_size,
          ensemble_method=config.ensemble_method,
          ensemble_size=config.ensemble_size,
          hidden_sizes=config.critic_network_hidden_sizes,
          use_double_q=config.use_double_q,
          networks_init_type=config.networks_init_type,
          critic_init_scale=config.critic_init_scale,
          critic_random_init=config.critic_random_init,
          mimo_using_obs_tile=config.mimo_using_obs_tile,
          mimo_using_act_tile=config.mimo_using_act_tile,
          tree_branching=config.tree_branching,
          tree_depth=config.tree_depth,
          tree_width=config.tree_width,
          batch_split=config.batch_split))


class MSGBuilder(offline_builder.FeedForwardBuilder):
  """Builds MSG with the ensemble that the config names.

  The learner, an `MSGLearner`, has the variables 'policy' and 'critic'.
  """
  _learner_class = learning.MSGLearner

  def _policy(self, networks: networks_lib.MSGNetworks, mode: str):
    policy = acting.make_policy(networks, mode, self._config)
    if acting.variable_names(mode) == self.variable_names:
      return policy
    # Actors fetch the variables for evaluation; this policy needs the first.
    return lambda params, key, observation: policy(params[0], key, observation)

  @property
  def variable_names(self) -> Sequence[str]:
    """See the base class; the Q-filter (docs/msg.md 7.2) needs the critics."""
    return acting.variable_names(self._config.evaluation_mode)
