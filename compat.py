"""Restores the names of older JAX releases that dm-acme 0.4.0 refers to.

Acme 0.4.0 was written against the JAX of early 2022. Every name here is only
set where the installed JAX lacks it, and nothing else in the project patches a
library. Import this module (importing `acme_msg` does) before `acme`.
"""

import types

import jax
import jax.numpy as jnp

_RESTORED = {
    jax: {
        'xla': types.SimpleNamespace(
            Device=jax.Device, DeviceArray=jax.Array),
        'pxla': types.SimpleNamespace(ShardedDeviceArray=jax.Array),
        'tree_map': jax.tree_util.tree_map,
        'tree_multimap': jax.tree_util.tree_map,
        'tree_flatten': jax.tree_util.tree_flatten,
        'tree_unflatten': jax.tree_util.tree_unflatten,
        'tree_leaves': jax.tree_util.tree_leaves,
        'tree_structure': jax.tree_util.tree_structure,
    },
    jnp: {'DeviceArray': jax.Array},
}

for _module, _names in _RESTORED.items():
  for _name, _value in _names.items():
    if not hasattr(_module, _name):
      setattr(_module, _name, _value)
