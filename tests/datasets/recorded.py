"""Recorded transitions for the tests of delivery."""

from acme import types
from acme_msg.datasets.delivery import store
import numpy as np


def make_dataset(size, breaks=(), next_action=True):
  """Returns transitions whose reward is their row.

  Args:
    size: the number of transitions.
    breaks: the rows whose next observation and action do not follow.
    next_action: whether the extras hold the next action.
  """
  rng = np.random.default_rng(size)
  observation = rng.standard_normal((size + 1, 3), np.float32)
  action = rng.random((size + 1, 2), np.float32)
  following, later = observation[1:].copy(), action[1:].copy()
  following[list(breaks)] += 1
  later[list(breaks)] *= -1
  return types.Transition(
      observation[:-1].copy(), action[:-1].copy(),
      np.arange(size, dtype=np.float32),
      (rng.random(size) < .9).astype(np.float32), following,
      {'next_action': later} if next_action else ())


def assert_same_bits(found, wanted):
  """Asserts that two datasets are the same arrays, bit by bit."""
  found, wanted = store.to_columns(found), store.to_columns(wanted)
  assert found.keys() == wanted.keys()
  for name, column in wanted.items():
    assert found[name].dtype == column.dtype, name
    assert found[name].shape == column.shape, name
    assert found[name].tobytes() == column.tobytes(), name


def rows(batches):
  """Returns the rows of minibatches, one after the other."""
  return np.concatenate([batch.reward for batch in batches]).astype(int)
