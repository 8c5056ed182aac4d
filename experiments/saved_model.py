"""Exports a policy as a TensorFlow SavedModel (docs/msg.md 7.4)."""

import contextlib
from typing import Any, Callable, Iterator
import warnings

import jax
from jax.experimental import jax2tf
from jax.experimental.jax2tf import jax2tf as rules
import tensorflow as tf

from .. import atomic_files


@contextlib.contextmanager
def _rules_for_cpu() -> Iterator[None]:
  """Lets jax2tf convert `jax.lax.platform_dependent`, to the branch for CPUs.

  Critics use it (`networks/members.py`), and jax2tf has no rules for its two
  primitives: the index of the platform's branch, and the conditional.
  """
  convert_cond = rules.tf_impl[jax.lax.cond_p]

  def index(*, platforms):
    return tf.constant(next(
        i for i, names in enumerate(platforms)
        if names is None or 'cpu' in names), tf.int32)

  def cond(*args, branches, **unused_platforms):
    return convert_cond(*args, branches=branches)

  example = jax.make_jaxpr(lambda: jax.lax.platform_dependent(
      cpu=lambda: 0, default=lambda: 1))()
  index_primitive = example.eqns[0].primitive
  rules.tf_impl.update({index_primitive: index, jax.lax.cond_p: cond})
  try:
    yield
  finally:
    rules.tf_impl[jax.lax.cond_p] = convert_cond
    del rules.tf_impl[index_primitive]


def export(path: str, policy: Callable[..., jax.Array], params: Any,
           observation_size: int) -> None:
  """Writes `(observation [O], seed []) -> action [A]` as a SavedModel.

  The SavedModel runs without this package and without JAX:
  `tf.saved_model.load(path).act(observation, seed)`. The same function is the
  default serving signature, whose one output is named 'action'. Observation
  and action are float32; the seed is int32.

  Random numbers come from the key `jax.random.PRNGKey(seed)` and JAX's own
  generator, rewritten in TensorFlow's operations. An observation and a seed
  therefore give the same action as in JAX, up to rounding: a policy that
  samples returns the tanh of
  `loc + scale * jax.random.normal(jax.random.PRNGKey(seed), [A])`. A
  deterministic policy ignores the seed. The params are variables that are not
  trainable. Source: docs/msg.md 7.4.

  Args:
    path: the directory to write, which must not exist.
    policy: `policy(params, key, observation [B, O]) -> action [B, A]`, from a
      builder's `make_policy`.
    params: the policy's params, as NumPy arrays in nested dicts, lists and
      tuples.
    observation_size: O.

  Raises:
    FileExistsError: if `path` exists.
  """
  atomic_files.check_free(path)

  def act(leaves, observation, seed):
    params = jax.tree.unflatten(structure, leaves)
    return policy(params, jax.random.PRNGKey(seed), observation[None])[0]

  leaves, structure = jax.tree.flatten(params)
  with warnings.catch_warnings(), _rules_for_cpu():
    # JAX's default conversion uses an operation that TensorFlow 2.8 lacks. The
    # model runs in every TensorFlow runtime if it has no XLA operations.
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
    # The serving signature names its inputs and its output.
    serve = tf.function(
        lambda observation, seed: {'action': module.act(observation, seed)},
        autograph=False, input_signature=inputs).get_concrete_function()
    with atomic_files.create(path, directory=True) as temporary:
      # Traces `module.act` once more, outside of `serve`.
      tf.saved_model.save(module, temporary, signatures=serve)
