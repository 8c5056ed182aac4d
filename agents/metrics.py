"""Metrics of gradient steps, averaged on the devices over many steps.

A step leaves its values on the device that measured them. Everything that
needs other devices is done once per learner step, after the loop.

Shapes: `S` gradient steps, `N` members of which each device holds `n`, `b` of
`B` batch rows.
"""

import dataclasses
import functools
from typing import Any, Callable, Dict, NamedTuple, Tuple

import jax
import jax.numpy as jnp

from . import divergence
from . import sharding

Values = Dict[str, jax.Array]


class StepMetrics(NamedTuple):
  """Measurements of one step, or of many with a leading `[S]`, on one device.

  Attributes:
    members: one value per local member, `[n]`.
    ranked: one value per local member, `[n]`; 'x' is reported as `argmax_x`
      and `argmin_x`, the members with the largest and the smallest value.
    rows: one value per local batch row, `[b]`.
    scalars: means over local rows, or values that all devices share, `[]`.
    weights: weight of each name in the mean over steps, `[]`; zero in steps
      that do not measure it.
  """
  members: Values
  ranked: Values
  rows: Values
  scalars: Values
  weights: Values


def step_metrics(weight: Any, members=None, rows=None, scalars=None,
                 ranked=None) -> StepMetrics:
  """Returns metrics that share a weight."""
  kinds = (members or {}, ranked or {}, rows or {}, scalars or {})
  weight = jnp.asarray(weight, jnp.float32)
  return StepMetrics(*kinds, {name: weight for kind in kinds for name in kind})


def merge(*parts: StepMetrics) -> StepMetrics:
  """Joins metrics of one step that have different names."""
  return StepMetrics(*(
      {name: value for d in dicts for name, value in d.items()}
      for dicts in zip(*parts)))


def either(predicate: jax.Array, on_true: Callable[..., Any],
           on_false: Callable[..., Any], *args: Any) -> Any:
  """`jax.lax.cond` over steps that measure different metrics.

  Args:
    predicate: which step to run, `[]`.
    on_true: `on_true(*args) -> (state, StepMetrics)`.
    on_false: a function like `on_true`, with other metrics.
    *args: passed to the step that runs.

  Returns:
    The state, and the metrics of both steps. Those of the step that did not
    run have weight zero.
  """
  def completed(step, other):
    _, missing = jax.eval_shape(other, *args)
    def run(*args):
      state, metrics = step(*args)
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), missing)
      return state, merge(zeros, metrics)
    return run
  return jax.lax.cond(predicate, completed(on_true, on_false),
                      completed(on_false, on_true), *args)


def _summary(values: jax.Array) -> Values:
  """Statistics over the last axis of `[S, X]`, by name."""
  return {'/avg': jnp.mean(values, axis=1), '/std': jnp.std(values, axis=1),
          '/max': jnp.max(values, axis=1), '/min': jnp.min(values, axis=1)}


@functools.partial(
    jax.tree_util.register_dataclass, meta_fields=['names', 'sources'],
    data_fields=['totals', 'weights', 'is_good', 'first_bad', 'bad_members'])
@dataclasses.dataclass(frozen=True)
class Averages:
  """Averages over S steps, the same on all devices; see `average`.

  Few arrays, because each array that a program returns takes time.

  Attributes:
    names: names of the M averages.
    sources: names of the L metrics that they are computed from.
    totals: weighted sums over steps, `[M]`.
    weights: sums of weights, `[M]`.
    is_good: whether all metrics of all steps are, see `divergence.is_bad`, and
      the state after them is finite, `[]`.
    first_bad: by metric, the index of the first bad step; S if there is none,
      `[L]`.
    bad_members: by metric of members, which of them are bad in that step,
      `[N]`.
  """
  names: Tuple[str, ...]
  sources: Tuple[str, ...]
  totals: jax.Array
  weights: jax.Array
  is_good: jax.Array
  first_bad: jax.Array
  bad_members: Values


def average(steps: StepMetrics, shard: sharding.Shard,
            state: Any = ()) -> Averages:
  """Averages over steps, each with its weight.

  Args:
    steps: metrics of S steps, `[S, ...]`.
    shard: how members and rows are divided over devices.
    state: this device's part of the training state after the steps.

  Returns:
    The averages. Values per member or row become their mean, deviation,
    maximum and minimum; ranked values become indices of the last step, because
    an average of indices has no meaning.
  """
  averages, first_bad, bad_members = {}, {}, {}

  def add(name, series, weights):
    for suffix, x in series.items():
      averages[name + suffix] = (jnp.sum(x * weights), jnp.sum(weights))

  def check(name, values):
    bad = divergence.is_bad(values)
    is_first = (bad.reshape(len(bad), -1).any(axis=1)
                & (steps.weights[name] > 0))
    first = jnp.argmax(is_first)
    first_bad[name] = jnp.where(is_first.any(), first, len(bad))
    return bad[first]

  for name, values in steps.members.items():
    values = shard.all_members(values)
    bad_members[name] = check(name, values)
    add(name, _summary(values), steps.weights[name])
  for name, values in steps.ranked.items():
    values = shard.all_members(values)
    bad_members[name] = check(name, values)
    weight = steps.weights[name][-1]
    averages[f'argmax_{name}'] = (jnp.argmax(values[-1]) * weight, weight)
    averages[f'argmin_{name}'] = (jnp.argmin(values[-1]) * weight, weight)
  for name, values in steps.rows.items():
    values = shard.all_rows(values)
    check(name, values)
    add(name, _summary(values), steps.weights[name])
  for name, values in steps.scalars.items():
    values = shard.mean_over_batch(values)
    check(name, values)
    add(name, {'': values}, steps.weights[name])
  totals, weights = jnp.asarray(list(averages.values())).reshape(-1, 2).T
  first = jnp.asarray(list(first_bad.values()), jnp.int32)
  num_steps = jnp.asarray([len(x) for x in steps.weights.values()], jnp.int32)
  return Averages(
      tuple(averages), tuple(first_bad), totals, weights,
      jnp.all(first == num_steps) & shard.all_devices(
          divergence.is_finite(state)), first, bad_members)


def to_host(averages: Averages) -> Dict[str, float]:
  """Returns means as Python numbers, without metrics that no step measured."""
  totals, weights = jax.device_get((averages.totals, averages.weights))
  return {name: float(total / weight)
          for name, total, weight in zip(averages.names, totals, weights)
          if weight > 0}
