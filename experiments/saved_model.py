"""Exports a policy as a TensorFlow SavedModel that needs none of this code."""

import os
import tempfile
from typing import Any, Callable
import warnings

import jax
from jax.experimental import jax2tf
import tensorflow as tf


def export(path: str, policy: Callable[..., jax.Array], params: Any,
           observation_size: int) -> None:
  """Writes `(observation [O], seed []) -> action [A]` as a SavedModel.

  `tf.saved_model.load(path).act(observation, seed)` runs it; it is also the
  default serving signature, whose one output is named 'action'. Observation
  and action are float32; the seed is int32. What the policy draws, it draws
  from the key `jax.random.PRNGKey(seed)` by JAX's own generator (rewritten in
  TensorFlow's operations), so that an observation and a seed give the same
  action as in JAX up to rounding: a policy that samples squashes
  `loc + scale * jax.random.normal(jax.random.PRNGKey(seed), [A])`. A policy
  that draws nothing ignores the seed. The params are variables that no
  optimiser trains. See the MSG specification, section 4.5.

  Args:
    path: the directory to write, which must not exist.
    policy: `policy(params, key, observation [B, O]) -> action [B, A]`, as a
      builder's `make_policy` gives it.
    params: the policy's, as NumPy arrays in nested dicts, lists and tuples.
    observation_size: O.

  Raises:
    FileExistsError: if there is something at `path` already.
  """
  path = os.path.abspath(path)
  if os.path.lexists(path):
    raise FileExistsError(
        f'{path} exists and is not overwritten; name another directory.')

  def act(leaves, observation, seed):
    params = jax.tree.unflatten(structure, leaves)
    return policy(params, jax.random.PRNGKey(seed), observation[None])[0]

  leaves, structure = jax.tree.flatten(params)
  with warnings.catch_warnings():
    # JAX's default is an operation that TensorFlow 2.8 does not have. Without
    # XLA's operations the model runs in every TensorFlow runtime.
    warnings.simplefilter('ignore', DeprecationWarning)
    converted = jax2tf.convert(act, with_gradient=False, enable_xla=False,
                               native_serialization=False)
    module = tf.Module()
    module.params = [tf.Variable(leaf, trainable=False) for leaf in leaves]
    inputs = [tf.TensorSpec([observation_size], tf.float32, 'observation'),
              tf.TensorSpec([], tf.int32, 'seed')]
    module.act = tf.function(
        lambda observation, seed: converted(module.params, observation, seed),
        autograph=False, input_signature=inputs)
    # Served by the names of its inputs and of its output.
    serve = tf.function(
        lambda observation, seed: {'action': module.act(observation, seed)},
        autograph=False, input_signature=inputs).get_concrete_function()

  parent = os.path.dirname(path)
  os.makedirs(parent, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=parent, prefix='.export-') as scratch:
    temporary = os.path.join(scratch, 'model')
    tf.saved_model.save(module, temporary, signatures=serve)
    # Fails where another export was faster and filled the directory.
    os.rename(temporary, path)
