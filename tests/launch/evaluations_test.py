"""Tests the queue of weights to evaluate and the file of results."""

from acme.utils import loggers
from acme_msg.launch import evaluations
import numpy as np
import pytest


def _make(root_dir, first_step=0, **kwargs):
  return evaluations.Evaluations(str(root_dir), first_step, **kwargs)


def test_each_step_is_handed_out_once_and_in_order(tmp_path):
  queue = _make(tmp_path)
  queue.publish(20, b'twenty')
  queue.publish(10, b'ten')
  assert queue.claim('a') == (10, b'ten')
  assert queue.claim('b') == (20, b'twenty')
  assert queue.claim('c') is None
  assert queue.outstanding() == 2
  assert queue.outstanding(before=20) == 1


def test_restarted_evaluator_gets_its_weights_again(tmp_path):
  queue = _make(tmp_path)
  queue.publish(10, b'ten')
  queue.publish(20, b'twenty')
  assert queue.claim('a') == queue.claim('a') == (10, b'ten')
  queue.report('a', [1.], [2])
  assert queue.claim('a') == (20, b'twenty')


def test_reports_out_of_order_are_written_in_order(tmp_path):
  logger = loggers.InMemoryLogger()
  queue = _make(tmp_path, logger=logger, score_fn=lambda returns: 10 * returns)
  queue.publish(10, b'')
  queue.publish(20, b'')
  queue.claim('a')
  queue.claim('b')
  queue.report('b', [3., 5.], [7, 8])
  assert list(evaluations.load(str(tmp_path))) == [20]
  queue.report('a', [1., 2.], [5, 6])
  with np.load(tmp_path / 'evaluations.npz') as f:
    np.testing.assert_array_equal(f['steps'], [10, 20])
    np.testing.assert_array_equal(f['returns'], [[1., 2.], [3., 5.]])
    np.testing.assert_array_equal(f['lengths'], [[5, 6], [7, 8]])
    np.testing.assert_array_equal(f['scores'], [[10., 20.], [30., 50.]])
  first = logger.data[0]
  assert first['gradient_steps'] == 20
  assert first['return_mean'] == 4. and first['return_std'] == 1.
  assert first['return_min'] == 3. and first['return_max'] == 5.
  assert first['length_mean'] == 7.5
  assert first['score_mean'] == 40. and first['score_std'] == 10.
  assert queue.last_result() == 'score 40 at step 20'


def test_task_without_scores_has_none(tmp_path):
  queue = _make(tmp_path, score_fn=lambda returns: None)
  queue.publish(10, b'')
  queue.claim('a')
  queue.report('a', [1.], [5])
  with np.load(tmp_path / 'evaluations.npz') as f:
    assert set(f) == {'steps', 'returns', 'lengths'}
  assert evaluations.load(str(tmp_path))[10].scores is None
  assert queue.last_result() == 'return 1 at step 10'


def test_resumed_run_keeps_what_came_before_and_repeats_what_came_after(
    tmp_path):
  queue = _make(tmp_path)
  for step in (10, 20, 30):
    queue.publish(step, b'')
    queue.claim('a')
    queue.report('a', [float(step)], [1])
  queue = _make(tmp_path, first_step=20)
  queue.publish(20, b'')
  assert queue.claim('a') is None
  queue.publish(30, b'again')
  assert queue.claim('a') == (30, b'again')
  queue.report('a', [-1.], [1])
  returns = [row.returns[0] for row in evaluations.load(str(tmp_path)).values()]
  assert returns == [10., 20., -1.]


def test_report_without_claim_is_refused(tmp_path):
  queue = _make(tmp_path)
  queue.publish(10, b'')
  with pytest.raises(ValueError, match="'a' reports .* has claimed no weights"):
    queue.report('a', [1.], [1])
