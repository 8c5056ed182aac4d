"""The behaviour-cloning builder."""

from acme import specs

from . import offline_builder
from .. import networks as networks_lib
from ..agents import bc
from ..agents.bc import learning
from ..networks import policy as policy_lib


def make_bc_networks(spec: specs.EnvironmentSpec,
                  config: bc.BCConfig) -> networks_lib.PolicyNetwork:
  """Makes the policy; arguments and errors are as in `make_msg_networks`."""
  return networks_lib.make_policy(
      *offline_builder.flat_sizes(spec), config.actor_network_hidden_sizes,
      config.networks_init_type)


class BCBuilder(offline_builder.FeedForwardBuilder):
  """Builds behaviour cloning (docs/msg.md 10.1)."""
  _learner_class = learning.BCLearner

  def _policy(self, networks: networks_lib.PolicyNetwork, mode: str):
    if mode == 'mode':
      return policy_lib.mode_fn(networks)
    return policy_lib.sample_fn(networks)
