"""What every critic ensemble looks like to the agent.

Shapes: `N` members in all, `n` members on one device, `B` batch rows, `O`
observation, `A` action, `K` heads per member (2 with double Q-learning, else
1), `F` features.
"""

import dataclasses
from typing import Any, Callable, NamedTuple, Optional

import jax
import jax.numpy as jnp

Params = Any


class CriticOutput(NamedTuple):
  """The values of a batch and the features they were read from.

  Attributes:
    q: action values, `[n, B, K]`.
    features: last hidden activations: `[n, B, F]` where members have features
      of their own, `[1, B, F]` where they share them.
  """
  q: jax.Array
  features: jax.Array


def all_members(params: Params, num_devices: int) -> Params:
  """Marks every array as one that carries members on its leading axis."""
  del num_devices
  return jax.tree.map(lambda _: True, params)


def no_members(params: Params, num_devices: int) -> Params:
  """Marks every array as shared by all members."""
  del num_devices
  return jax.tree.map(lambda _: False, params)


@dataclasses.dataclass(frozen=True)
class CriticEnsemble:
  """N critics as pure functions over one tree of parameters.

  This is all that the agent knows of a variant. A new variant is a function
  that returns one of these (`networks/README.md` writes one).

  Attributes:
    num_members: N.
    init: draws the parameters of all members, `init(key) -> params`.
    apply: evaluates the members that `params` holds,
      `apply(params, observation, action, first_member) -> CriticOutput`.
      Observation and action are `[B, ...]` where all members see the same, or
      `[n, B, ...]`. `first_member` is the index of the first member held.
    member_leaves: `member_leaves(params, num_devices) -> tree of bool`: which
      arrays have the N members (or a multiple that `num_devices` divides) on
      their leading axis and are split over devices; the others are replicated.
    shard_over: 'members' (each device holds N/D members and sees the whole
      batch) or 'batch' (each device holds all members and sees B/D rows).
    member_batches: 'same' (all members see the same rows), 'shuffled' (half of
      the rows are permuted for each member) or 'split' (each member sees B/N
      rows of its own).
    independent_samples: whether each member draws its own policy actions.
    loss_reduction: 'sum' gives each member the gradient of its own loss;
      'mean' that of the mean over members.
    representation: 'per_member', 'joint', or None where SASS is not defined.
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


def with_heads(single: CriticEnsemble, num_heads: int) -> CriticEnsemble:
  """Gives each member `num_heads` independent copies of its network.

  Args:
    single: an ensemble whose values are `[n, B, 1]`.
    num_heads: K; 2 is double Q-learning.

  Returns:
    The ensemble with values `[n, B, K]` and the heads' features concatenated.
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
