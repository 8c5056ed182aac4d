"""The losses of MSG, as pure functions.

Shapes: `n` of `N` members on this device, `B` batch rows, `K` heads per member,
`M` proposed actions, `F` features. Sums over members use a `sharding.Shard`.
"""

import functools
from typing import NamedTuple, Optional

import chex
import jax
import jax.numpy as jnp

from .. import sharding


def safe_sqrt(x: jax.Array) -> jax.Array:
  """Square root whose value below zero and gradient up to zero are zero."""
  positive = x > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.)), 0.)


def least_head(q: jax.Array) -> jax.Array:
  """Returns the smallest of each member's heads: `[..., K] -> [...]`.

  The first of the smallest heads gets the whole gradient. `jnp.min` instead
  gives it to the values that equal the minimum, and there may be none if the
  compiler computes the values twice with different rounding.
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

  One pass (mean of squares minus squared mean) loses all digits of a spread
  below one at values like -200. The mean of the deviations is the rounding
  error of the first pass; it is subtracted because it would be the whole spread
  of members that agree. See docs/msg.md 3.8.

  Args:
    q: `[n, ...]`.
    shard: how members are divided over devices.
    ddof: delta degrees of freedom.

  Returns:
    The moments, `[...]`. Gradients are finite even where members agree. The
    gradient of the deviations leaves out the mean's: it cancels over all
    members, but not over those of one device.
  """
  chex.assert_axis_dimension(q, 0, shard.num_local_members)
  mean = shard.mean_over_members(q)
  deviations = q - jax.lax.stop_gradient(mean)
  total, squares = shard.sum_over_members(
      jnp.stack([deviations, jnp.square(deviations)], axis=1))
  variance = (squares - jnp.square(total) / shard.num_members) / max(
      shard.num_members - ddof, 1)
  return Moments(mean, safe_sqrt(variance))


def lower_confidence_bound(moments: Moments, beta: float) -> jax.Array:
  """Returns `mean + beta * std`, `[...]`; negative beta is pessimistic."""
  return moments.mean + beta * moments.std


def td_target(next_q: jax.Array, reward: jax.Array, discount: jax.Array,
              gamma: float) -> jax.Array:
  """Each member's own target, without an entropy term (docs/msg.md 3.2).

  Args:
    next_q: values of the target critics at (s', a'), `[n, B, K]`.
    reward: `[B]` or `[n, B]`.
    discount: zero at terminal transitions, else one; shape of `reward`.
    gamma: discount factor.

  Returns:
    `[n, B]`, without gradient.
  """
  chex.assert_rank([next_q, reward], [3, {1, 2}])
  chex.assert_equal_shape([reward, discount])
  chex.assert_shape(reward, next_q.shape[2 - reward.ndim:2])
  return jax.lax.stop_gradient(
      reward + gamma * discount * least_head(next_q))


def shared_td_target(targets: jax.Array, method: str, beta: float, ddof: int,
                     shard: sharding.Shard) -> jax.Array:
  """Replaces members' targets by a shared one (docs/msg.md 3.5).

  Args:
    targets: each member's own target, `[n, B]`.
    method: 'independent' keeps them; 'shared_mean', 'shared_min' and
      'shared_lcb' return the mean, the minimum and `mean + beta * std`.
    beta: coefficient of the standard deviation.
    ddof: delta degrees of freedom of the standard deviation.
    shard: how members are divided over devices.

  Returns:
    `[n, B]`, or `[B]` if shared; without gradient.
  """
  chex.assert_rank(targets, 2)
  if method == 'independent':
    return targets
  return jax.lax.stop_gradient(policy_objective(
      targets, ensemble_moments(targets, shard, ddof), method, beta, shard))


def policy_objective(q: jax.Array, moments: Moments, method: str, beta: float,
                     shard: sharding.Shard) -> jax.Array:
  """The policy's objective, to be maximised (docs/msg.md 3.8).

  Args:
    q: members' values, `[n, B]`.
    moments: moments of `q` over all members, `[B]`.
    method: 'independent' and 'shared_lcb' return the lower confidence bound,
      'shared_mean' the mean and 'shared_min' the minimum over members.
    beta: coefficient of the standard deviation.
    shard: how members are divided over devices.

  Returns:
    `[B]`.
  """
  chex.assert_rank(q, 2)
  chex.assert_shape(moments, q.shape[1:])
  if method == 'shared_mean':
    return moments.mean
  if method == 'shared_min':
    return shard.min_over_members(q)
  return lower_confidence_bound(moments, beta)


def td_loss(q: jax.Array, targets: jax.Array,
            weights: Optional[jax.Array]) -> jax.Array:
  """Half the mean squared error over rows and heads (docs/msg.md 3.3).

  Args:
    q: `[n, B, K]`.
    targets: `[n, B]` or `[B]`.
    weights: weights of the squared errors, `[n, B, K]`; None is one.

  Returns:
    Each member's loss, `[n]`.
  """
  chex.assert_rank([q, targets], [3, {1, 2}])
  chex.assert_shape(targets, q.shape[2 - targets.ndim:2])
  squared = jnp.square(q - targets[..., None])
  if weights is not None:
    chex.assert_equal_shape([q, weights])
    squared = squared * weights
  return 0.5 * jnp.mean(squared, axis=(1, 2))


def rem_td_loss(q: jax.Array, targets: jax.Array, mixture: jax.Array,
                weights: Optional[jax.Array],
                shard: sharding.Shard) -> jax.Array:
  """The loss of a random mixture of members (docs/msg.md 3.6).

  Args:
    q: `[n, B, K]`.
    targets: each member's own target, `[n, B]`.
    mixture: positive numbers, `[n, B]`, which this function normalises to sum
      to one over all members.
    weights: weights of the squared errors, `[n, B, K]`; None is one.
    shard: how members are divided over devices.

  Returns:
    One loss, `[]`: half the squared error of the mixed values, weighted with
    the members' mean weight.
  """
  chex.assert_rank(q, 3)
  chex.assert_shape([targets, mixture], q.shape[:2])
  mixture = mixture / shard.sum_over_members(mixture)
  errors = shard.sum_over_members(
      mixture[..., None] * (q - targets[..., None]))
  squared = jnp.square(errors)
  if weights is not None:
    chex.assert_equal_shape([q, weights])
    squared = squared * shard.mean_over_members(weights)
  return 0.5 * jnp.mean(squared)


def behavior_regularizer(kind: str, q_data: jax.Array, q_policy: jax.Array,
                         log_proposal: Optional[jax.Array]) -> jax.Array:
  """Behaviour regulariser R of each member (docs/msg.md 3.4).

  It measures how much higher a member values proposed actions than those of the
  data.

  Args:
    kind: 'none', 'v1', 'v1_prime', 'v2', 'v3' or 'cql'.
    q_data: values of the data's actions, `[n, B, K]`.
    q_policy: values of the proposed actions, `[M, n, B, K]`; M is 1 unless
      `kind` is 'cql'.
    log_proposal: log-density of the proposals, `[M, n or 1, B]`; used by 'cql'.

  Returns:
    `[n]`.

  Raises:
    ValueError: if there is no such kind.
  """
  chex.assert_rank([q_data, q_policy], [3, 4])
  chex.assert_shape(q_policy, (None, *q_data.shape))
  if kind == 'none':
    return jnp.zeros(q_data.shape[0])
  if kind == 'cql':
    chex.assert_shape(
        log_proposal, (q_policy.shape[0], None, q_data.shape[1]))
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
  raise ValueError(f'behavior_regularization_type={kind!r} is unknown.')


class ContrastiveLoss(NamedTuple):
  """A contrastive loss and the share of rows that pick their partner."""
  loss: jax.Array
  accuracy: jax.Array


def nt_xent(left: jax.Array, right: jax.Array, temperature: float,
            shard: Optional[sharding.Shard] = None) -> ContrastiveLoss:
  """The normalised-temperature cross entropy of SimCLR (docs/msg.md 6.1).

  Row j of `left` and row j of `right` are partners; the candidates of a row are
  the other 2B - 1 rows. Features are not normalised.

  Args:
    left: `[B, F]`.
    right: `[B, F]`.
    temperature: divides the inner products.
    shard: how features are divided over devices; None if they are not.

  Returns:
    Mean loss and accuracy over the 2B rows, `[]`.
  """
  chex.assert_rank([left, right], 2)
  chex.assert_equal_shape([left, right])
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
  """State-action similarity to the successor, SASS (docs/msg.md 6.1).

  Args:
    features: the critic's features of (s, a), `[B, F]`.
    next_features: its target's features of (s', a*), without gradient,
      `[B, F]`.
    temperature: temperature of both contrastive terms.
    shard: see `nt_xent`.

  Returns:
    Half the sum of the contrastive terms of (features, next_features) and
    (features, features), and the accuracy of the first.
  """
  across = nt_xent(features, next_features, temperature, shard)
  within = nt_xent(features, features, temperature, shard)
  return ContrastiveLoss(0.5 * (across.loss + within.loss), across.accuracy)


def temperature_loss(log_alpha: jax.Array, log_prob: jax.Array,
                     target_entropy: float) -> jax.Array:
  """The temperature's loss (docs/msg.md 3.10).

  It raises the temperature while entropy is below its target.

  Args:
    log_alpha: logarithm of the temperature, `[]`.
    log_prob: mean log-probability of the policy's actions, `[]`.
    target_entropy: in nats.

  Returns:
    `[]`.
  """
  chex.assert_rank([log_alpha, log_prob], 0)
  return jnp.exp(log_alpha) * jax.lax.stop_gradient(-log_prob - target_entropy)
