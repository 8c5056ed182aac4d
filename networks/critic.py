"""The interface between critic ensembles and the agent (docs/msg.md 4.1).

Shapes: `N` members in all, `n` members on one device, `B` batch rows, `O`
observation, `A` action, `K` heads per member (2 with double Q-learning, else
1), `F` features.
"""

import dataclasses
from typing import Any, Callable, Mapping, NamedTuple, Optional

import jax
import jax.numpy as jnp

Params = Any


class CriticOutput(NamedTuple):
  """Values of a batch and the features from which they are computed.

  Attributes:
    q: action values, `[n, B, K]`.
    features: last hidden activations, `[n, B, F]`, or `[1, B, F]` if members
      share them.
  """
  q: jax.Array
  features: jax.Array


def all_members(params: Params, num_devices: int) -> Params:
  """Returns a tree of True: every array has members on its first axis."""
  del num_devices
  return jax.tree.map(lambda _: True, params)


def no_members(params: Params, num_devices: int) -> Params:
  """Returns a tree of False: members share every array."""
  del num_devices
  return jax.tree.map(lambda _: False, params)


@dataclasses.dataclass(frozen=True)
class CriticEnsemble:
  """N critics as pure functions over one tree of parameters.

  The agent knows nothing else about a variant. A new variant is a function that
  returns a `CriticEnsemble`; `networks/README.md` has an example.

  Attributes:
    num_members: N.
    init: draws the parameters of all members, `init(key) -> params`.
    apply: evaluates the members in `params`,
      `apply(params, observation, action, first_member) -> CriticOutput`.
      Observation and action are `[B, ...]` if members share them, else
      `[n, B, ...]`. `first_member` is the index of the first of the n members.
    member_leaves: `member_leaves(params, num_devices) -> tree of bool`: which
      arrays are split over devices along their first axis, which has N entries
      or another number that `num_devices` divides. The others are replicated.
    shard_over: 'members' (each device holds N/D members and sees the whole
      batch) or 'batch' (each device holds all members and sees B/D rows).
    member_batches: 'same' (all members see the same rows), 'shuffled' (half of
      the rows are permuted for each member) or 'split' (members see B/N
      different rows each).
    independent_samples: whether each member draws its own policy actions.
    loss_reduction: 'sum' gives each member the gradient of its own loss, 'mean'
      the gradient of the mean over members.
    representation: features that SASS compares: 'per_member', 'joint', or None
      if there are none.
    min_log_alpha: lower bound of the logarithm of the entropy temperature that
      the policy adapts with these critics; None is no bound.
    made_with: the options that `factory.make_critic` has made them with, which
      must be those of the agent; None for other critics.
  """
  num_members: int
  init: Callable[[jax.Array], Params]
  apply: Callable[..., CriticOutput]
  member_leaves: Callable[[Params, int], Params] = no_members
  shard_over: str = 'batch'
  member_batches: str = 'same'
  independent_samples: bool = False
  loss_reduction: str = 'mean'
  representation: Optional[str] = None
  min_log_alpha: Optional[float] = None
  made_with: Optional[Mapping[str, Any]] = dataclasses.field(
      default=None, compare=False)


def with_heads(single: CriticEnsemble, num_heads: int) -> CriticEnsemble:
  """Gives each member `num_heads` independent copies of its network.

  Args:
    single: an ensemble with values `[n, B, 1]`.
    num_heads: K; 2 is double Q-learning (docs/msg.md 4.7).

  Returns:
    An ensemble with values `[n, B, K]` and the heads' features concatenated.
  """

  def init(key):
    return tuple(single.init(k) for k in jax.random.split(key, num_heads))

  def apply(params, observation, action, first_member=0):
    outputs = [
        single.apply(p, observation, action, first_member) for p in params]
    return CriticOutput(
        q=jnp.concatenate([o.q for o in outputs], axis=-1),
        features=jnp.concatenate([o.features for o in outputs], axis=-1))

  def member_leaves(params, num_devices):
    return tuple(single.member_leaves(p, num_devices) for p in params)

  return dataclasses.replace(
      single, init=init, apply=apply, member_leaves=member_leaves)
