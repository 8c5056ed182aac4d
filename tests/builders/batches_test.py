"""Tests of batches drawn from whole datasets."""

from acme import types
from acme_msg import builders
import jax
import numpy as np

_SIZE = 10


def _make_dataset():
  rewards = np.arange(_SIZE, dtype=np.float32)
  column = rewards[:, None]
  return types.Transition(
      column, -column, rewards, np.ones_like(rewards), column + 1,
      {'next_action': -column - 1})


def test_batches_are_rows_of_the_dataset():
  rewards = []
  sampled = builders.sample_batches(_make_dataset(), 6, jax.random.PRNGKey(0))
  for _ in range(500):
    batch = next(sampled)
    assert isinstance(batch, types.Transition) and batch.reward.shape == (6,)
    np.testing.assert_array_equal(batch.observation[:, 0], batch.reward)
    np.testing.assert_array_equal(
        batch.extras['next_action'][:, 0], -batch.reward - 1)
    rewards.append(batch.reward)
  # Rows are drawn uniformly, with replacement.
  counts = np.bincount(np.concatenate(rewards).astype(int), minlength=_SIZE)
  assert np.all(np.abs(counts - 300) < 100)
  assert any(len(set(batch)) < 6 for batch in rewards)


def test_keys_decide_the_batches():
  def first(seed):
    return next(builders.sample_batches(
        _make_dataset(), 6, jax.random.PRNGKey(seed))).reward
  np.testing.assert_array_equal(first(0), first(0))
  assert not np.array_equal(first(0), first(1))


class _Builder(builders.OfflineBuilder):
  """Returns its arguments."""

  def make_learner(self, random_key, networks, dataset, logger_fn,
                   environment_spec, *, counter=None):
    return random_key, networks, dataset, logger_fn, environment_spec, counter

  def make_actor(self, *args, **kwargs):
    return args, kwargs

  def make_policy(self, *args, **kwargs):
    return args, kwargs


def test_passes_on_all_but_the_dataset():
  builder = builders.BatchingBuilder(_Builder(), 4)
  _, networks, dataset, *rest = builder.make_learner(
      jax.random.PRNGKey(0), 'networks', _make_dataset(), 'logger_fn', 'spec',
      counter='counter')
  assert networks == 'networks' and rest == ['logger_fn', 'spec', 'counter']
  assert next(dataset).observation.shape == (4, 1)
  assert builder.make_actor(
      'key', 'policy', 'spec', variable_source='source') == (
          ('key', 'policy', 'spec', 'source'), {})
  assert builder.make_policy('networks', 'spec', evaluation=True) == (
      ('networks', 'spec', True), {})
