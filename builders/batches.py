"""Minibatches from whole datasets, for builders that take iterators."""

import operator
from typing import Iterator

from acme import types
import jax
import numpy as np

from . import offline_builder


def sample_batches(dataset: types.Transition, batch_size: int,
                   random_key: jax.Array) -> Iterator[types.Transition]:
  """Draws batches from a whole dataset, endlessly.

  Args:
    dataset: T transitions.
    batch_size: transitions per batch, drawn with replacement.
    random_key: determines the batches.

  Yields:
    Batches `[batch_size, ...]` of NumPy arrays.
  """
  rng = np.random.default_rng(np.asarray(random_key))
  size = len(dataset.reward)
  while True:
    rows = rng.integers(size, size=batch_size)
    yield jax.tree.map(operator.itemgetter(rows), dataset)


class BatchingBuilder(offline_builder.OfflineBuilder):
  """Gives whole datasets to a builder that takes iterators of batches.

  With it, a program that passes whole datasets, such as ours, runs builders
  that take iterators, such as Acme's. The position in the iterator is not
  saved: a resumed run draws the first batches again, unlike learners of whole
  datasets. The methods have the types of `OfflineBuilder`.
  """

  def __init__(self, builder: offline_builder.OfflineBuilder, batch_size: int):
    """Creates the builder.

    Args:
      builder: the agent.
      batch_size: transitions per batch; S * B for learners that divide a batch
        among S gradient steps.
    """
    self._builder = builder
    self._batch_size = batch_size

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    """Makes the builder's learner, on batches drawn from a whole dataset."""
    learner_key, batch_key = jax.random.split(random_key)
    return self._builder.make_learner(
        learner_key, networks,
        sample_batches(dataset, self._batch_size, batch_key),
        logger_fn, environment_spec, counter=counter)

  def make_actor(self, random_key, policy, environment_spec,
                 variable_source=None):
    """Makes the builder's actor."""
    return self._builder.make_actor(
        random_key, policy, environment_spec, variable_source)

  def make_policy(self, networks, environment_spec, evaluation):
    """Makes the builder's policy."""
    return self._builder.make_policy(networks, environment_spec, evaluation)
