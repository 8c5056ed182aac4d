"""Tests the queue of weights to evaluate and the file of results."""

import random
import re

from acme.utils import loggers
from acme_msg.launch import evaluations
import numpy as np
import pytest


def _make(root_dir, **kwargs):
  return evaluations.Evaluations(str(root_dir), **kwargs)


def _evaluate(queue, *steps):
  """Has steps evaluated; each return is the step."""
  for step in steps:
    queue.publish(step, b'')
    queue.claim('a')
    queue.report('a', [float(step)], [1])


def test_each_step_is_handed_out_once_and_in_order(tmp_path):
  queue = _make(tmp_path)
  queue.publish(20, b'twenty')
  queue.publish(10, b'ten')
  assert queue.claim('a') == (10, b'ten')
  assert queue.claim('b') == (20, b'twenty')
  assert queue.claim('c') is None
  assert queue.outstanding() == 2
  assert queue.pending(before=30) == {10: b'ten', 20: b'twenty'}
  assert queue.pending(before=20) == {10: b'ten'}


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
  _evaluate(_make(tmp_path), 10, 20, 30)
  queue = _make(tmp_path)
  assert queue.resume(20, {10: b'done'}, range(10, 50, 10)) == []
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


def test_resumed_run_evaluates_what_was_pending_and_records_what_is_lost(
    tmp_path):
  _evaluate(_make(tmp_path), 10)
  queue = _make(tmp_path)
  # The weights of 20 and 30 are nowhere; those of 50 are the learner's.
  lost = queue.resume(50, {10: b'done', 40: b'forty'}, range(10, 70, 10))
  assert lost == [20, 30] == evaluations.lost(str(tmp_path))
  assert queue.claim('a') == (40, b'forty')
  queue.report('a', [4.], [1])
  assert list(evaluations.load(str(tmp_path))) == [10, 40]
  assert evaluations.lost(str(tmp_path)) == [20, 30]


def test_damaged_file_is_named_and_never_read_wrongly(tmp_path):
  path = tmp_path / 'evaluations.npz'
  queue = _make(tmp_path, score_fn=lambda returns: 10 * returns)
  _evaluate(queue, 10, 20, 30)
  good, content = evaluations.load(str(tmp_path)), path.read_bytes()
  random.seed(0)
  versions = [b'', b'nonsense', content[:len(content) // 2]]
  for _ in range(300):
    flipped = bytearray(content)
    flipped[random.randrange(len(content))] ^= 1 << random.randrange(8)
    versions.append(bytes(flipped))
  refused = 0
  for version in versions:
    path.write_bytes(version)
    try:  # Some bytes, such as those of dates, have no effect.
      assert repr(evaluations.load(str(tmp_path))) == repr(good)
    except ValueError as e:
      assert re.match(f'{re.escape(str(path))} is damaged: .+ Put back', str(e))
      refused += 1
  assert refused > 200
  np.savez(path, steps=[10], returns=np.array([[None]]), lengths=[[1]])
  with pytest.raises(ValueError, match='is damaged: Object arrays'):
    _make(tmp_path)
