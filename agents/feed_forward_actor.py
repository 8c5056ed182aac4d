"""Actors for feed-forward policies."""

import functools
from typing import Hashable, Optional, Sequence

from acme import adders
from acme import core
from acme.agents.jax import actor_core
from acme.agents.jax import actors
from acme.jax import variable_utils
import jax

from . import parallel


def make_actor(
    random_key: jax.Array,
    policy: actor_core.FeedForwardPolicy,
    variable_source: Optional[core.VariableSource],
    variables: Sequence[str] = ('policy',),
    adder: Optional[adders.Adder] = None,
) -> core.Actor:
  """Makes an Acme actor that keeps the same weights during an episode.

  Args:
    random_key: seeds the policy.
    policy: `policy(params, key, observation [B, O]) -> action [B, A]`.
    variable_source: serves the weights.
    variables: names of the weights; if there are several, `params` is a list.
    adder: records transitions, for online learning.

  Returns:
    The actor; it runs on the CPU.

  Raises:
    ValueError: if there is no variable source.
  """
  if variable_source is None:
    raise ValueError('make_actor needs a variable_source.')
  client = variable_utils.VariableClient(
      variable_source, list(variables), device='cpu')
  make_core = _make_core
  if not isinstance(policy, Hashable):
    make_core = actor_core.batched_feed_forward_to_actor_core
  return actors.GenericActor(
      make_core(policy), parallel.raw_key(random_key), client, adder=adder,
      per_episode_update=True)


# JAX keeps a compiled program for each function that it has seen, so a new
# function for each actor would use more memory with each evaluation.
@functools.lru_cache(maxsize=8)
def _make_core(policy: actor_core.FeedForwardPolicy) -> actor_core.ActorCore:
  return actor_core.batched_feed_forward_to_actor_core(policy)
