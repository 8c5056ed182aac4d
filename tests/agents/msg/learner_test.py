"""The MSG learner: data, metrics, variables and resuming."""

import pickle

from acme.utils import counting
from acme.utils import loggers
from acme_msg.agents import msg
from acme_msg.agents import parallel
import jax
import numpy as np
import pytest
import tiny

# Two gradient steps per learner step; the first three gradient steps clone.
_CONFIG = tiny.make_config(
    num_sgd_steps_per_step=2, num_bc_iters=3,
    behavior_regularization_type='v2')


def _make_learner(dataset, config=_CONFIG, seed=0, **kwargs):
  kwargs.setdefault('logger', loggers.NoOpLogger())
  return msg.MSGLearner(
      tiny.make_networks(config), config, jax.random.PRNGKey(seed), dataset,
      **kwargs)


def _batches():
  """Batches of an input pipeline, one for each learner step."""
  seed = 0
  while True:
    yield tiny.make_data(
        _CONFIG.num_sgd_steps_per_step * _CONFIG.batch_size, seed)
    seed += 1


def _assert_equal(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.fixture(scope='module')
def run():
  """Learner, log and pickled states after each of four learner steps."""
  log = loggers.InMemoryLogger()
  learner = _make_learner(
      tiny.make_data(), counter=counting.Counter(prefix='learner'), logger=log)
  saved = [pickle.dumps(learner.save())]
  for _ in range(4):
    learner.step()
    saved.append(pickle.dumps(learner.save()))
  return learner, log, [pickle.loads(s) for s in saved]


def test_typed_keys_are_the_same_keys(run):
  _, _, states = run
  typed = msg.MSGLearner(
      tiny.make_networks(_CONFIG), _CONFIG, jax.random.key(0),
      tiny.make_data(), logger=loggers.NoOpLogger())
  _assert_equal(typed.save(), states[0])
  with pytest.raises(ValueError, match='of the kind .*rbg.* draws with'):
    parallel.raw_key(jax.random.key(0, impl='rbg'))


def test_starts_from_its_key(run):
  _, _, states = run
  _assert_equal(states[0].policy_params, tiny.make_state(_CONFIG).policy_params)
  assert states[0].steps == 0
  critics = states[0].critic_params[0]['q']['w']
  assert critics.shape[0] == _CONFIG.ensemble_size
  assert not np.array_equal(critics[0], critics[1])


def test_resumes_exactly(run):
  learner, _, states = run
  assert [state.steps for state in states] == [0, 2, 4, 6, 8]
  # A new learner with another seed resumes from a state saved while cloning.
  again = _make_learner(tiny.make_data(), seed=1)
  assert not np.array_equal(again.save().key, states[1].key)
  again.restore(states[1])
  _assert_equal(again.save(), states[1])
  for i, state in enumerate(states[2:]):
    # Compiled steps transfer nothing but the metrics, explicitly.
    with jax.transfer_guard('disallow' if i else 'allow'):
      again.step()
    _assert_equal(again.save(), state)
  assert again.num_traces == 1
  # A learner that runs resumes without another compilation.
  learner.restore(states[2])
  learner.step()
  _assert_equal(learner.save(), states[3])
  assert learner.num_traces == 1


def test_logs_the_metrics_of_each_phase(run):
  _, log, _ = run
  assert [row['learner_steps'] for row in log.data[:4]] == [2, 4, 6, 8]
  summary = lambda name: {f'{name}/{s}' for s in ('avg', 'std', 'max', 'min')}
  cloning = {
      'actor_loss', 'avg_log_prob', 'learner_steps', 'learner_walltime',
      *summary('critic_loss'), *summary('behavior_reg_loss'),
      *summary('fraction_behavior_reg_active')}
  maximizing = cloning | {
      'argmax_q', 'argmin_q', 'alpha', 'alpha_loss', *summary('q_mean'),
      *summary('q_std')}
  assert set(log.data[0]) == cloning
  for row in log.data[1:4]:
    assert set(row) == maximizing
    assert all(isinstance(value, (int, float)) and np.isfinite(value)
               for value in row.values())
    assert row['argmax_q'] in range(_CONFIG.ensemble_size)
    assert row['argmax_q'] != row['argmin_q']
    assert row['q_std/min'] > 0.
    assert 0. <= row['fraction_behavior_reg_active/avg'] <= 1.
    for name in ('q_mean', 'critic_loss'):
      assert (row[f'{name}/min'] < row[f'{name}/avg'] < row[f'{name}/max'])
  # The first gradient step of the second learner step clones, and the other
  # measures its metrics.
  assert log.data[1]['alpha'] == 1.


def test_serves_policy_and_critics(run):
  learner, _, _ = run
  policy, critic = learner.get_variables(['policy', 'critic'])
  state = learner.save()
  _assert_equal(policy, state.policy_params)
  _assert_equal(critic, state.critic_params)
  with pytest.raises(KeyError, match=r"'all_q'.*\['critic', 'policy'\]"):
    learner.get_variables(['all_q'])


def test_learns_from_an_iterator_of_batches():
  learner = _make_learner(_batches())
  for _ in range(2):
    learner.step()
  state = learner.save()
  assert state.steps == 4 and learner.num_traces == 1
  again = _make_learner(iter(()))
  again.restore(state)
  _assert_equal(again.save(), state)

  # The first minibatch of a batch is its first B rows.
  config = tiny.make_config(
      num_bc_iters=3, behavior_regularization_type='v2')
  step = tiny.make_update_step(config)
  expected = tiny.make_state(_CONFIG)
  batches = _batches()
  for _ in range(2):
    batch = next(batches)
    for rows in (slice(16), slice(16, None)):
      expected, _ = step(expected, jax.tree.map(lambda x: x[rows], batch))
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
      state, expected)


def test_refuses_batches_of_another_size():
  learner = _make_learner(iter([tiny.make_data(31)]))
  with pytest.raises(
      ValueError, match='31 transitions.*num_sgd_steps_per_step=2 times '
      'batch_size=16 needs 32'):
    learner.step()


@pytest.mark.parametrize('option', [
    dict(use_sass=True), dict(num_q_repr_pretrain_iters=1),
    dict(perform_sarsa_q_eval=True, behavior_regularization_type='none')])
def test_refuses_data_without_next_actions(option):
  name = next(iter(option))
  with pytest.raises(ValueError, match=f'{name} needs .*next actions'):
    _make_learner(tiny.make_data()._replace(extras=()),
                  tiny.make_config(**option))


@pytest.mark.parametrize('options, found, divisors', [
    (dict(), 'ensemble_size=4', r'\[1, 2, 4\]'),
    (tiny.MIMO, 'batch_size=16', r'\[1, 2, 4, 8, 16\]'),
    (tiny.BATCH_ENSEMBLE, 'ensemble_size=4', r'\[1, 2, 4\]'),
    (tiny.TREE, 'ensemble_size=4', r'\[1, 2, 4\]')])
def test_refuses_numbers_of_devices_that_do_not_divide(
    options, found, divisors):
  with pytest.raises(ValueError, match=f'{found}.*3 devices.*{divisors}'):
    _make_learner(tiny.make_data(), tiny.make_config(**options),
                  devices=jax.local_devices()[:1] * 3)
