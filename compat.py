"""Restores JAX names that Acme 0.4.0 uses and later JAX releases removed.

Acme 0.4.0 was written for the JAX of early 2022. Each name is set only if the
installed JAX lacks it. Importing any part of `acme_msg` imports this module,
which must happen before the first import of `acme`. It is the only module of
the package whose import changes another library.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp

# Names that Acme 0.4.0 uses, by the module in which it looks for them.
RESTORED: dict[Any, dict[str, Any]] = {
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
