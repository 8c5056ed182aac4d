"""Metrics of gradient steps, averaged on the devices over many steps.

A step leaves its values on the device that measured them. Everything that
needs other devices is done once per learner step, after the loop.

Shapes: `S` gradient steps, `N` members of which each device holds `n`, `b` of
`B` batch rows.
"""

from typing import Any, Callable, Dict, NamedTuple

import jax
import jax.numpy as jnp

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


def _summary(name: str, values: jax.Array) -> Values:
  """Statistics over the last axis of `[S, X]`."""
  return {f'{name}/avg': jnp.mean(values, axis=1),
          f'{name}/std': jnp.std(values, axis=1),
          f'{name}/max': jnp.max(values, axis=1),
          f'{name}/min': jnp.min(values, axis=1)}


def average(steps: StepMetrics, shard: sharding.Shard) -> Dict[str, Values]:
  """Averages over steps, each with its weight.

  Args:
    steps: metrics of S steps, `[S, ...]`.
    shard: how members and rows are divided over devices.

  Returns:
    The weighted 'total' over steps and the 'weight' of each metric, `[]`; the
    same on all devices. Values per member or row become their mean, deviation,
    maximum and minimum; ranked values become indices of the last step, because
    an average of indices has no meaning.
  """
  averages = {}

  def add(name, values, weights):
    averages[name] = {'total': jnp.sum(values * weights),
                      'weight': jnp.sum(weights)}

  for name, values in steps.members.items():
    for key, value in _summary(name, shard.all_members(values)).items():
      add(key, value, steps.weights[name])
  for name, values in steps.ranked.items():
    last = shard.all_members(values)[-1]
    weight = steps.weights[name][-1]
    add(f'argmax_{name}', jnp.argmax(last), weight)
    add(f'argmin_{name}', jnp.argmin(last), weight)
  for name, values in steps.rows.items():
    for key, value in _summary(name, shard.all_rows(values)).items():
      add(key, value, steps.weights[name])
  for name, values in steps.scalars.items():
    add(name, shard.mean_over_batch(values), steps.weights[name])
  return averages


def to_host(averages: Dict[str, Values]) -> Dict[str, float]:
  """Returns means as Python numbers, without metrics that no step measured."""
  averages = jax.device_get(averages)
  return {name: float(a['total'] / a['weight'])
          for name, a in averages.items() if a['weight'] > 0}
