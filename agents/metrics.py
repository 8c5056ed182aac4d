"""Metrics of gradient steps, averaged on the device over many of them.

A step leaves its values as they are on its device; all that needs other devices
is done once per learner step, after the loop.
"""

from typing import Any, Callable, Dict, NamedTuple

import jax
import jax.numpy as jnp

from . import sharding

Values = Dict[str, jax.Array]


class StepMetrics(NamedTuple):
  """What one step (or, with a leading `[S]`, many) measured on one device.

  Attributes:
    members: one value per local member, `[n]`.
    rows: one value per local batch row, `[b]`.
    scalars: means over local rows, or values that all devices share, `[]`.
    weights: for each name, the step's weight in the mean over steps, `[]`: zero
      in phases that do not measure it.
  """
  members: Values
  rows: Values
  scalars: Values
  weights: Values


def step_metrics(weight: jax.Array, members=None, rows=None,
                 scalars=None) -> StepMetrics:
  """Metrics that share a weight."""
  members, rows, scalars = members or {}, rows or {}, scalars or {}
  weight = jnp.asarray(weight, jnp.float32)
  return StepMetrics(members, rows, scalars,
                     {name: weight for name in (*members, *rows, *scalars)})


def merge(*parts: StepMetrics) -> StepMetrics:
  """Puts metrics of one step together."""
  return StepMetrics(*(
      {name: value for d in dicts for name, value in d.items()}
      for dicts in zip(*parts)))


def either(predicate: jax.Array, on_true: Callable[..., Any],
           on_false: Callable[..., Any], *args: Any) -> Any:
  """`jax.lax.cond` over steps that measure different things.

  Args:
    predicate: which step to run, `[]`.
    on_true: `on_true(*args) -> (state, StepMetrics)`.
    on_false: likewise, with other metrics.
    *args: passed on.

  Returns:
    The state, and the metrics of both with no weight for the step not run.
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


def _summary(name: str, values: jax.Array) -> Values:
  """Statistics over the last axis of `[S, X]`."""
  return {f'{name}/avg': jnp.mean(values, axis=1),
          f'{name}/std': jnp.std(values, axis=1),
          f'{name}/max': jnp.max(values, axis=1),
          f'{name}/min': jnp.min(values, axis=1)}


def average(steps: StepMetrics, shard: sharding.Shard) -> Dict[str, Values]:
  """Averages over steps, each with its weight.

  Args:
    steps: of S steps, `[S, ...]`.
    shard: how members and rows are spread over devices.

  Returns:
    For each metric its weighted 'total' over the steps and its 'weight', `[]`;
    the same on all devices. `q_member` becomes `argmax_q` and `argmin_q`, the
    members with the largest and the smallest values.
  """
  averages = {}

  def add(name, values, weights):
    averages[name] = {'total': jnp.sum(values * weights),
                      'weight': jnp.sum(weights)}

  for name, values in steps.members.items():
    values = shard.all_members(values)
    weights = steps.weights[name]
    if name == 'q_member':
      # The last step's: an average of indices would mean nothing.
      last = {'argmax_q': jnp.argmax(values[-1]),
              'argmin_q': jnp.argmin(values[-1])}
      averages.update({
          key: {'total': value * weights[-1], 'weight': weights[-1]}
          for key, value in last.items()})
      continue
    for key, value in _summary(name, values).items():
      add(key, value, weights)
  for name, values in steps.rows.items():
    for key, value in _summary(name, shard.all_rows(values)).items():
      add(key, value, steps.weights[name])
  for name, values in steps.scalars.items():
    add(name, shard.mean_over_batch(values), steps.weights[name])
  return averages


def to_host(averages: Dict[str, Values]) -> Dict[str, float]:
  """Means as Python numbers, without those that no step measured."""
  averages = jax.device_get(averages)
  return {name: float(a['total'] / a['weight'])
          for name, a in averages.items() if a['weight'] > 0}
