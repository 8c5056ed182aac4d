"""Restores the names of older JAX releases that dm-acme 0.4.0 refers to.

Acme 0.4.0 was written against the JAX of early 2022. Each name is set only
where the installed JAX lacks it, and nothing else here patches a library.
Importing anything of `acme_msg` imports this module, which must come before the
first import of `acme`.
"""

import types

import jax
import jax.numpy as jnp

# What Acme 0.4.0 uses, by the module that it expects it in.
RESTORED = {
    jax: {
        'xla': types.SimpleNamespace(
            Device=jax.Device, DeviceArray=jax.Array),
        'pxla': types.SimpleNamespace(ShardedDeviceArray=jax.Array),
        'tree_flatten': jax.tree_util.tree_flatten,
        'tree_map': jax.tree_util.tree_map,
        'tree_multimap': jax.tree_util.tree_map,
    },
    jnp: {'DeviceArray': jax.Array},
}

for _module, _names in RESTORED.items():
  for _name, _value in _names.items():
    if not hasattr(_module, _name):
      setattr(_module, _name, _value)
