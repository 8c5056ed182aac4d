"""The shape of the benchmarks' random data, and timing in turns."""

import statistics
import time
from typing import Any, Callable, Mapping

from acme import specs
import jax
import numpy as np


def environment_spec(
    observation_size: int, action_size: int) -> specs.EnvironmentSpec:
  """Returns the spec of an environment with actions in [-1, 1]."""
  return specs.EnvironmentSpec(
      observations=specs.Array((observation_size,), np.float32),
      actions=specs.BoundedArray((action_size,), np.float32, -1., 1.),
      rewards=specs.Array((), np.float32),
      discounts=specs.BoundedArray((), np.float32, 0., 1.))


def seconds(run: Callable[[], Any]) -> float:
  """Returns the duration of a call, until its arrays are computed."""
  start = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - start


def race(methods: Mapping[str, Callable[[], float]],
         rounds: int) -> Mapping[str, float]:
  """Returns each method's median result; methods take turns."""
  results = [{name: method() for name, method in methods.items()}
             for _ in range(rounds)]
  return {name: statistics.median(result[name] for result in results)
          for name in methods}
