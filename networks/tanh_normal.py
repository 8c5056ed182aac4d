"""A diagonal Gaussian squashed by tanh, as pure functions (docs/msg.md 5.1).

Densities are those of Acme's `TanhTransformedDistribution`, without a
dependency on TensorFlow Probability.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy import stats

# Actions beyond this bound have the mean density of the tail, which keeps the
# log-probability and its gradient finite.
_THRESHOLD = 0.999


class TanhNormal(NamedTuple):
  """Parameters of the Gaussian before squashing.

  Attributes:
    loc: `[..., A]`.
    scale: `[..., A]`, positive.
  """
  loc: jax.Array
  scale: jax.Array


def sample(distribution: TanhNormal, noise: jax.Array) -> jax.Array:
  """Reparameterised actions in (-1, 1), `[..., A]`.

  Args:
    distribution: `[..., A]`.
    noise: standard normal, `[..., A]`, broadcast against the distribution.
  """
  return jnp.tanh(distribution.loc + distribution.scale * noise)


def mode(distribution: TanhNormal) -> jax.Array:
  """The squashed location, `[..., A]`."""
  return jnp.tanh(distribution.loc)


def _log_tail(z: jax.Array) -> jax.Array:
  """Logarithm of a standard normal's mass above `z`.

  Above 10 it is the asymptotic series. JAX differentiates `logsf` there as a
  difference of two large numbers, which is wrong by orders of magnitude.
  """
  is_far = z > 10.
  x = jnp.where(is_far, z, 10.)
  square = jnp.square(x)
  far = (jnp.log1p(-(1. - (3. - 15. / square) / square) / square)
         - jnp.log(x) - 0.5 * (square + jnp.log(2. * jnp.pi)))
  return jnp.where(is_far, far, stats.norm.logsf(jnp.where(is_far, 10., z)))


def log_prob(distribution: TanhNormal, action: jax.Array) -> jax.Array:
  """Log-density of actions in [-1, 1], summed over `A`: `[...]`."""
  loc, scale = distribution
  inside = jnp.clip(action, -_THRESHOLD, _THRESHOLD)
  density = (
      stats.norm.logpdf(jnp.arctanh(inside), loc, scale)
      - jnp.log1p(-jnp.square(inside)))
  edge = jnp.arctanh(_THRESHOLD)
  log_width = jnp.log(1.0 - _THRESHOLD)
  left = _log_tail((edge + loc) / scale) - log_width
  right = _log_tail((edge - loc) / scale) - log_width
  return jnp.sum(
      jnp.where(action <= -_THRESHOLD, left,
                jnp.where(action >= _THRESHOLD, right, density)), axis=-1)
