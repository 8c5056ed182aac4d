"""The losses of MSG, as pure functions.

Shapes: `n` members on this device (of `N`), `B` batch rows, `K` heads per
member, `M` proposed actions, `A` action. Sections are those of the MSG
specification. Sums over members go through a `sharding.Shard`.
"""

import functools
from typing import NamedTuple, Optional

import jax
import jax.numpy as jnp

from .. import sharding


def safe_sqrt(x: jax.Array) -> jax.Array:
  """A square root whose gradient at zero (and below) is zero, not infinite."""
  positive = x > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.)), 0.)


def least_head(q: jax.Array) -> jax.Array:
  """The smallest of each member's heads: `[..., K] -> [...]`.

  Not `jnp.min`: its gradient goes to the values that equal the minimum, and
  finds none where a compiler computes them anew and rounds otherwise. Here the
  first of the smallest has all of it.
  """
  return functools.reduce(
      lambda least, head: jnp.where(head < least, head, least),
      jnp.moveaxis(q, -1, 0))


class Moments(NamedTuple):
  """Mean and standard deviation over members, each `[...]`."""
  mean: jax.Array
  std: jax.Array


def ensemble_moments(
    q: jax.Array, shard: sharding.Shard, ddof: int = 0) -> Moments:
  """Mean and standard deviation over all members, in two passes.

  The mean of squares less the square of the mean loses all digits at values
  like -200 with a spread below one (section 5, item 9). The deviations' own
  mean, which is the rounding error of the first pass, is taken out: where
  members agree, it would be all of the spread.

  Args:
    q: `[n, ...]`.
    shard: how members are spread over devices.
    ddof: delta degrees of freedom.

  Returns:
    The moments, `[...]`, with finite gradients even where members agree. The
    mean's gradient does not enter that of the deviations: over all members it
    cancels, but on one device alone it would not.
  """
  mean = shard.mean_over_members(q)
  deviations = q - jax.lax.stop_gradient(mean)
  total, squares = shard.sum_over_members(
      jnp.stack([deviations, jnp.square(deviations)], axis=1))
  variance = (squares - jnp.square(total) / shard.num_members) / max(
      shard.num_members - ddof, 1)
  return Moments(mean, safe_sqrt(variance))


def lower_confidence_bound(moments: Moments, beta: float) -> jax.Array:
  """`mean + beta * std`, `[...]`; beta is negative for pessimism."""
  return moments.mean + beta * moments.std


def td_target(next_q: jax.Array, reward: jax.Array, discount: jax.Array,
              gamma: float) -> jax.Array:
  """Each member's own target; it holds no entropy term (section 1.3).

  Args:
    next_q: target critics at (s', a'), `[n, B, K]`.
    reward: `[B]` or `[n, B]`.
    discount: zero at terminal transitions, else one; as `reward`.
    gamma: discount factor.

  Returns:
    `[n, B]`, without gradient.
  """
  return jax.lax.stop_gradient(
      reward + gamma * discount * least_head(next_q))


def shared_td_target(targets: jax.Array, method: str, beta: float, ddof: int,
                     shard: sharding.Shard) -> jax.Array:
  """Replaces members' targets by one they share (section 1.3).

  Args:
    targets: members' own, `[n, B]`.
    method: 'independent' keeps them; 'shared_mean', 'shared_min' and
      'shared_lcb' take the mean, the least and `mean + beta * std`.
    beta: coefficient of the standard deviation.
    ddof: its delta degrees of freedom.
    shard: how members are spread over devices.

  Returns:
    `[n, B]` or, where it is shared, `[B]`; without gradient.
  """
  if method == 'independent':
    return targets
  return jax.lax.stop_gradient(policy_objective(
      targets, ensemble_moments(targets, shard, ddof), method, beta, shard))


def policy_objective(q: jax.Array, moments: Moments, method: str, beta: float,
                     shard: sharding.Shard) -> jax.Array:
  """What the policy maximises.

  Args:
    q: members' values, `[n, B]`.
    moments: theirs over members, `[B]`.
    method: 'independent' and 'shared_lcb' take the lower confidence bound,
      'shared_mean' the mean and 'shared_min' the least member of each sample.
    beta: coefficient of the standard deviation.
    shard: how members are spread over devices.

  Returns:
    `[B]`.
  """
  if method == 'shared_mean':
    return moments.mean
  if method == 'shared_min':
    return shard.min_over_members(q)
  return lower_confidence_bound(moments, beta)


def td_loss(q: jax.Array, targets: jax.Array,
            weights: Optional[jax.Array]) -> jax.Array:
  """Half the mean squared error, over rows and heads (section 1.3).

  Args:
    q: `[n, B, K]`.
    targets: `[n, B]` or `[B]`.
    weights: of the squared errors, `[n, B, K]`; None is one.

  Returns:
    Each member's loss, `[n]`.
  """
  squared = jnp.square(q - targets[..., None])
  if weights is not None:
    squared = squared * weights
  return 0.5 * jnp.mean(squared, axis=(1, 2))


def rem_td_loss(q: jax.Array, targets: jax.Array, mixture: jax.Array,
                weights: Optional[jax.Array],
                shard: sharding.Shard) -> jax.Array:
  """The loss of a random mixture of members (section 1.3, REM mode).

  Args:
    q: `[n, B, K]`.
    targets: members' own, `[n, B]`.
    mixture: positive numbers, `[n, B]`; made to sum to one over all members.
    weights: of the squared errors, `[n, B, K]`; None is one.
    shard: how members are spread over devices.

  Returns:
    One loss, `[]`: half the squared error of the mixed values, with the
    members' mean weight.
  """
  mixture = mixture / shard.sum_over_members(mixture)
  errors = shard.sum_over_members(
      mixture[..., None] * (q - targets[..., None]))
  squared = jnp.square(errors)
  if weights is not None:
    squared = squared * shard.mean_over_members(weights)
  return 0.5 * jnp.mean(squared)


def behavior_regularizer(kind: str, q_data: jax.Array, q_policy: jax.Array,
                         log_proposal: Optional[jax.Array]) -> jax.Array:
  """How much each member values the policy's actions over the data's.

  Section 1.3, table of R_i.

  Args:
    kind: 'none', 'v1', 'v1_prime', 'v2', 'v3' or 'cql'.
    q_data: at the data's actions, `[n, B, K]`.
    q_policy: at proposed actions, `[M, n, B, K]`; M is 1 but for 'cql'.
    log_proposal: log-density of the proposals, for 'cql': `[M, n, B]`, with
      n or 1 on the second axis.

  Returns:
    R of each member, `[n]`.
  """
  if kind == 'none':
    return jnp.zeros(q_data.shape[0])
  if kind == 'cql':
    soft_maximum = jax.nn.logsumexp(q_policy - log_proposal[..., None], axis=0)
    return jnp.mean(jnp.sum(soft_maximum - q_data, axis=-1), axis=1)
  if kind == 'v1_prime':
    return jnp.mean(jnp.sum(q_policy[0] - q_data, axis=-1), axis=1)
  least_policy = least_head(q_policy[0])
  gap = least_policy - least_head(q_data)
  if kind == 'v1':
    return jnp.mean(gap, axis=1)
  if kind == 'v2':
    active = jax.lax.stop_gradient((jnp.sign(gap) + 1.) / 2.)
    return jnp.mean(active * least_policy, axis=1)
  if kind == 'v3':
    return jnp.mean(jax.nn.relu(gap), axis=1)
  raise ValueError(f'There is no behavior regulariser {kind!r}.')


class ContrastiveLoss(NamedTuple):
  """A contrastive loss and the share of rows that found their partner."""
  loss: jax.Array
  accuracy: jax.Array


def nt_xent(left: jax.Array, right: jax.Array, temperature: float,
            shard: Optional[sharding.Shard] = None) -> ContrastiveLoss:
  """The normalised-temperature cross entropy of SimCLR (section 1.9).

  Row j of `left` and row j of `right` are partners; all 2B rows but itself are
  a row's candidates. Features are not normalised.

  Args:
    left: `[B, F]`.
    right: `[B, F]`.
    temperature: divides the inner products.
    shard: given where each device holds some of the features.

  Returns:
    Mean loss and accuracy over the 2B rows, `[]`.
  """
  rows = jnp.concatenate([left, right])
  products = rows @ rows.T
  if shard is not None:
    products = shard.joint_product(products)
  num_rows = rows.shape[0]
  logits = jnp.where(jnp.eye(num_rows, dtype=bool), -1e10,
                     products / temperature)
  partner = jnp.roll(jnp.arange(num_rows), num_rows // 2)
  own = jnp.take_along_axis(logits, partner[:, None], axis=1)[:, 0]
  loss = jnp.mean(jax.nn.logsumexp(logits, axis=1) - own)
  accuracy = jnp.mean((jnp.argmax(logits, axis=1) == partner).astype(
      jnp.float32))
  return ContrastiveLoss(loss, accuracy)


def sass_loss(features: jax.Array, next_features: jax.Array,
              temperature: float,
              shard: Optional[sharding.Shard] = None) -> ContrastiveLoss:
  """State-action similarity to the successor (section 1.9).

  Args:
    features: of (s, a) by the critic, `[B, F]`.
    next_features: of (s', a*) by its target, without gradient, `[B, F]`.
    temperature: of the contrastive loss.
    shard: as for `nt_xent`.

  Returns:
    Half the sum of both contrastive terms, and the first one's accuracy.
  """
  across = nt_xent(features, next_features, temperature, shard)
  within = nt_xent(features, features, temperature, shard)
  return ContrastiveLoss(0.5 * (across.loss + within.loss), across.accuracy)


def temperature_loss(log_alpha: jax.Array, log_prob: jax.Array,
                     target_entropy: float) -> jax.Array:
  """Raises the entropy bonus while entropy is below its target (section 1.3).

  Args:
    log_alpha: logarithm of the coefficient, `[]`.
    log_prob: mean log-probability of the policy's actions, `[]`.
    target_entropy: nats.
  """
  return jnp.exp(log_alpha) * jax.lax.stop_gradient(-log_prob - target_entropy)
