"""The behaviour-cloning builder."""

from typing import Callable, Optional

from acme import core
from acme import specs
from acme.utils import counting
from acme.utils import loggers
import jax

from . import offline_builder
from .. import networks as networks_lib
from ..agents import bc
from ..agents import offline_learner
from ..agents.bc import learning
from ..networks import policy as policy_lib


def make_bc_networks(spec: specs.EnvironmentSpec,
                  config: bc.BCConfig) -> networks_lib.PolicyNetwork:
  """Makes the policy network that a config describes.

  Args:
    spec: the environment's spec; observations and actions are vectors `[O]` and
      `[A]`, with actions in [-1, 1].
    config: the agent's options.

  Returns:
    The policy network.

  Raises:
    ValueError: if the spec does not have this form.
  """
  return networks_lib.make_policy(
      *offline_builder.flat_sizes(spec), config.actor_network_hidden_sizes,
      config.networks_init_type)


class BCBuilder(offline_builder.FeedForwardBuilder):
  """Builds behaviour cloning (docs/msg.md 10.1)."""

  def make_learner(
      self,
      random_key: jax.Array,
      networks: networks_lib.PolicyNetwork,
      dataset: offline_learner.Dataset,
      logger_fn: Callable[..., loggers.Logger],
      environment_spec: specs.EnvironmentSpec,
      *,
      counter: Optional[counting.Counter] = None,
  ) -> core.Learner:
    """Makes a learner with the variable 'policy'.

    The arguments are those of `MSGBuilder.make_learner`.
    """
    del environment_spec
    return learning.BCLearner(
        networks, self._config, random_key, dataset, counter=counter,
        logger=logger_fn('learner', steps_key='learner_steps'))

  def make_policy(
      self,
      networks: networks_lib.PolicyNetwork,
      environment_spec: specs.EnvironmentSpec,
      evaluation: bool,
  ) -> Callable[..., jax.Array]:
    """Makes `policy(params, key, observation [B, O]) -> action [B, A]`."""
    del environment_spec
    if evaluation and self._config.evaluation_mode == 'mode':
      return policy_lib.mode_fn(networks)
    return policy_lib.sample_fn(networks)
