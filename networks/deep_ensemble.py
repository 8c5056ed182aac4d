"""Deep ensembles: N critics without shared parameters."""

from typing import Sequence

from . import critic
from . import initializers
from . import members
from . import mlp_critic


def make_deep_ensemble(
    observation_size: int,
    action_size: int,
    *,
    num_members: int,
    hidden_sizes: Sequence[int],
    init: initializers.Initializers,
    random_init: bool = False,
    init_scale: float = 1.0,
) -> critic.CriticEnsemble:
  """Makes N separate MLPs `mlp_critic.make` (docs/msg.md 4.2)."""
  network = mlp_critic.make(hidden_sizes, 1, init, random_init, init_scale)

  def init_fn(key):
    return mlp_critic.init_stacked(
        network, key, num_members, observation_size, action_size)

  def apply(params, observation, action, first_member=0):
    del first_member
    q, features = members.map_members(
        network.apply, params, observation, action)
    return critic.CriticOutput(q, features)

  return critic.CriticEnsemble(
      num_members=num_members,
      init=init_fn,
      apply=apply,
      member_leaves=critic.all_members,
      shard_over='members',
      independent_samples=True,
      loss_reduction='sum',
      representation='per_member')
