"""The Acme learner around a program, with a small program."""

from acme.utils import counting
from acme.utils import loggers
from acme_msg.agents import divergence
from acme_msg.agents import offline_learner
import jax
import numpy as np
import pytest
import toy


def _make_learner(dataset, logger=None, counter=None, needs=()):
  return offline_learner.OfflineLearner(
      toy.make_program(), {'policy': 'total', 'critic': 'members'}, dataset,
      num_sgd_steps_per_step=3, needs_next_actions=needs, counter=counter,
      logger=logger or loggers.NoOpLogger())


def _batches(sizes):
  for size in sizes:
    yield toy.make_data(size)


def test_counts_gradient_steps_and_logs_finite_numbers():
  log, parent = loggers.InMemoryLogger(), counting.Counter()
  learner = _make_learner(
      toy.make_data(), log,
      counting.Counter(parent, prefix='learner', time_delta=0.))
  for _ in range(3):
    learner.step()
  assert parent.get_counts()['learner_steps'] == 9
  assert [row['learner_steps'] for row in log.data] == [3, 6, 9]
  for row in log.data:
    assert set(row) == {'batch', 'learner_steps', 'learner_walltime'}
    assert all(isinstance(value, (int, float)) and np.isfinite(value)
               for value in row.values())


def test_walltime_starts_with_the_first_step():
  # The time between construction and the first step does not count.
  log = loggers.InMemoryLogger()
  learner = _make_learner(toy.make_data(), log)
  for _ in range(3):
    learner.step()
  walltime = [row['learner_walltime'] for row in log.data]
  assert walltime[0] == 0. < walltime[1] < walltime[2]


def test_has_a_counter_by_default():
  log = loggers.InMemoryLogger()
  _make_learner(toy.make_data(), log).step()
  assert log.data[0]['learner_steps'] == 3


def test_takes_one_batch_per_step_from_an_iterator():
  batches = _batches([6, 6])
  learner = _make_learner(batches)
  learner.step()
  assert learner.get_variables(['policy'])[0] == sum(range(6))
  learner.step()
  assert learner.get_variables(['policy'])[0] == 2 * sum(range(6))
  with pytest.raises(StopIteration):
    learner.step()


def test_takes_any_iterable():
  learner = _make_learner([toy.make_data(6)])
  learner.step()
  assert learner.get_variables(['policy'])[0] == sum(range(6))


def test_refuses_batches_of_another_size():
  log = loggers.InMemoryLogger()
  learner = _make_learner(_batches([7]), log)
  with pytest.raises(
      ValueError, match='num_sgd_steps_per_step=3 times batch_size=2'):
    learner.step()
  assert not log.data and learner.get_variables(['policy'])[0] == 0.


@pytest.mark.parametrize('extras', [(), {}, {'other': 1}, None])
def test_refuses_data_without_the_next_actions_it_needs(extras):
  data = toy.make_data(6)._replace(extras=extras)
  match = r"use_sass and use_q needs.*extras\['next_action'\]"
  with pytest.raises(ValueError, match=match):
    _make_learner(data, needs=('use_sass', 'use_q'))
  # The first batch of an iterator is checked at construction.
  with pytest.raises(ValueError, match=match):
    _make_learner(iter([data]), needs=('use_sass', 'use_q'))
  # They are optional if no option needs them.
  _make_learner(data).step()


def test_unknown_variables_are_refused_with_a_list_of_all():
  learner = _make_learner(toy.make_data())
  with pytest.raises(KeyError, match=r"'q'.*\['critic', 'policy'\]"):
    learner.get_variables(['policy', 'q'])
  _, critic = learner.get_variables(['policy', 'critic'])
  assert isinstance(critic, np.ndarray)
  np.testing.assert_array_equal(critic, np.arange(4))


def test_resumes_from_a_saved_state():
  learner = _make_learner(toy.make_data())
  learner.step()
  saved = learner.save()
  learner.step()
  again = _make_learner(toy.make_data())
  again.step()
  again.restore(saved)
  again.step()
  assert again.get_variables(['policy']) == learner.get_variables(['policy'])
  assert again.num_traces == 1


@pytest.mark.parametrize('rewards, what', [
    ({7: np.nan}, 'batch is NaN, infinite or beyond 1e\\+18'),
    ({6: -2e18}, 'batch is NaN'), ({6: 1e17, 7: 2e18}, 'batch is NaN')])
def test_stops_at_the_first_bad_gradient_step(rewards, what):
  """Batches of three gradient steps with two rewards each."""
  data = toy.make_data(12)
  for row, value in rewards.items():
    data.reward[row] = value
  log = loggers.InMemoryLogger()
  batches = [jax.tree.map(lambda x: x[i:i + 6], data) for i in (0, 6)]
  learner = _make_learner(iter(batches + batches[:1]), log)
  learner.step()
  saved = learner.save()
  for _ in range(2):  # The second time it does not run a step.
    with pytest.raises(divergence.DivergenceError, match=(
        f'in gradient step 4: {what}.* lower learning rates')):
      learner.step()
  # The state can neither be saved nor served.
  for use in (learner.save, learner.global_state,
              lambda: learner.get_variables(['policy'])):
    with pytest.raises(divergence.DivergenceError):
      use()
  assert len(log.data) == 1
  learner.restore(saved)
  learner.step()
  assert learner.save().steps == 6


@pytest.mark.parametrize('bad, what', [
    ([2], 'members of member 2 of 4'), ([0, 3], 'members of members 0, 3 of 4'),
    ([0, 1, 2, 3], 'members of all 4 members')])
def test_stops_if_the_state_is_not_finite(bad, what):
  learner = _make_learner(toy.make_data())
  state = toy.make_state()
  state.members[bad] = np.inf
  learner.restore(state)
  with pytest.raises(divergence.DivergenceError, match=(
      f'in gradient step 3: {what} is NaN or infinite')):
    learner.step()


def test_many_members_are_counted():
  assert divergence._among(np.arange(20) != 3) == (
      ' of members 0, 1, 2, 4, 5, 6, 7, 8 and 11 others of 20')
