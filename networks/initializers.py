"""Weight initialisers by name (docs/msg.md 5.3)."""

from typing import NamedTuple, Optional

import haiku as hk
import jax
import jax.numpy as jnp


class Initializers(NamedTuple):
  """Weight initialisers; biases start at zero.

  Attributes:
    layer: for hidden layers and the critics' outputs.
    policy_head: for the policy's location and scale.
  """
  layer: hk.initializers.Initializer
  policy_head: hk.initializers.Initializer


INIT_TYPES = ('glorot_also_dist', 'glorot_except_dist', 'he_normal')


def make(networks_init_type: str, scale: float = 1.0) -> Initializers:
  """Returns the initialisers with that name.

  Args:
    networks_init_type: one of `INIT_TYPES`.
    scale: multiplies the variance.

  Raises:
    ValueError: if there is no such name.
  """
  glorot = hk.initializers.VarianceScaling(
      1.0 * scale, 'fan_avg', 'truncated_normal')
  if networks_init_type == 'glorot_also_dist':
    return Initializers(glorot, glorot)
  if networks_init_type == 'glorot_except_dist':
    return Initializers(
        glorot, hk.initializers.VarianceScaling(scale, 'fan_in', 'uniform'))
  if networks_init_type == 'he_normal':
    he = hk.initializers.VarianceScaling(
        2.0 * scale, 'fan_in', 'truncated_normal')
    return Initializers(he, he)
  raise ValueError(
      f'networks_init_type={networks_init_type!r} is not one of {INIT_TYPES}.')


class RandomVarianceScaling:
  """Variance scaling with random scale, fan and distribution.

  The scale is drawn from U(0.5, 2), the fan from {in, out, average} and the
  distribution from {truncated normal, normal, uniform}. All three are arrays,
  so that the choice works under `vmap`.
  """

  # Standard deviation of a standard normal truncated at two deviations.
  _TRUNCATED_STDDEV = 0.87962566103423978

  def __init__(self, key: Optional[jax.Array], scale: float = 1.0):
    """Draws the scaling.

    Args:
      key: consumed; None if the object will not be called.
      scale: multiplies the variance.
    """
    if key is None:
      return
    scale_key, fan_key, distribution_key = jax.random.split(key, 3)
    self._scale = scale * jax.random.uniform(
        scale_key, minval=0.5, maxval=2.0)
    self._fan = jax.random.randint(fan_key, (), 0, 3)
    self._distribution = jax.random.randint(distribution_key, (), 0, 3)

  def __call__(self, shape, dtype=jnp.float32) -> jax.Array:
    fan_in, fan_out = shape[-2], shape[-1]
    fans = jnp.array([fan_in, fan_out, (fan_in + fan_out) / 2], dtype)
    stddev = jnp.sqrt(self._scale / fans[self._fan])
    key = hk.next_rng_key()
    unit_variance = jnp.stack([
        jax.random.truncated_normal(key, -2, 2, shape, dtype)
        / self._TRUNCATED_STDDEV,
        jax.random.normal(key, shape, dtype),
        jax.random.uniform(
            key, shape, dtype, minval=-jnp.sqrt(3.0), maxval=jnp.sqrt(3.0)),
    ])
    return stddev * unit_variance[self._distribution]
