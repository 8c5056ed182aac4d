"""A diagonal Gaussian squashed by tanh, as pure functions over (loc, scale).

Follows the densities of Acme's `TanhTransformedDistribution` (the MSG
specification, section 2.1) without depending on TensorFlow Probability.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy import stats

# Actions nearer to the bounds than this share the mass of the Gaussian's tail,
# which keeps the log-probability and its gradient finite.
_THRESHOLD = 0.999


class TanhNormal(NamedTuple):
  """Parameters of the Gaussian before the squashing.

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


def log_prob(distribution: TanhNormal, action: jax.Array) -> jax.Array:
  """Log-density of actions in [-1, 1], summed over `A`: `[...]`."""
  loc, scale = distribution
  inside = jnp.clip(action, -_THRESHOLD, _THRESHOLD)
  density = (
      stats.norm.logpdf(jnp.arctanh(inside), loc, scale)
      - jnp.log1p(-jnp.square(inside)))
  edge = jnp.arctanh(_THRESHOLD)
  log_width = jnp.log(1.0 - _THRESHOLD)
  left = stats.norm.logcdf(-edge, loc, scale) - log_width
  right = stats.norm.logcdf(-edge, -loc, scale) - log_width
  return jnp.sum(
      jnp.where(action <= -_THRESHOLD, left,
                jnp.where(action >= _THRESHOLD, right, density)), axis=-1)
