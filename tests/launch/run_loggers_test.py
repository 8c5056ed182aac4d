"""Tests the CSV files, TensorBoard events and terminal lines of a run."""

import csv

from acme_msg.launch import run_loggers
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util


def _rows(path):
  with open(path, newline='') as f:
    return list(csv.DictReader(f))


def test_csv_is_continued_under_one_header(tmp_path):
  path = str(tmp_path / 'logs' / 'a.csv')
  for step in (1, 2):
    logger = run_loggers.CSVLogger(path)
    logger.write({'step': step, 'loss': 0.5})
    logger.close()
  assert _rows(path) == [
      {'step': '1', 'loss': '0.5'}, {'step': '2', 'loss': '0.5'}]


def test_csv_takes_new_and_missing_columns(tmp_path):
  path = str(tmp_path / 'a.csv')
  logger = run_loggers.CSVLogger(path)
  logger.write({'step': 1, 'warmup': 3})
  logger.write({'step': 2, 'loss': 4})
  logger.write({'step': 3, 'loss': 5})
  assert _rows(path) == [  # Read while it is open: every row is written.
      {'step': '1', 'warmup': '3', 'loss': ''},
      {'step': '2', 'warmup': '', 'loss': '4'},
      {'step': '3', 'warmup': '', 'loss': '5'}]


def test_csv_drops_a_torn_row_only(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('loss,step\n0.5,1\n0.2')
  run_loggers.CSVLogger(str(path)).write({'step': 2, 'loss': 0.25})
  assert _rows(path) == [
      {'step': '1', 'loss': '0.5'}, {'step': '2', 'loss': '0.25'}]


def test_csv_of_version_0_1_is_continued(tmp_path):
  path = tmp_path / 'logs' / 'evaluator.csv'
  path.parent.mkdir()
  path.write_text('episodes,learner_steps,return_mean\n3,10,-1.5\n3,20,-1.0\n')
  logger = run_loggers.make_logger_fn(str(tmp_path))('evaluator')
  logger.write({'learner_steps': 30, 'episodes': 3, 'return_max': 2.})
  logger.close()
  assert _rows(path) == [
      {'episodes': '3', 'gradient_steps': '10', 'return_mean': '-1.5',
       'return_max': ''},
      {'episodes': '3', 'gradient_steps': '20', 'return_mean': '-1.0',
       'return_max': ''},
      {'episodes': '3', 'gradient_steps': '30', 'return_mean': '',
       'return_max': '2.0'}]
  assert [entry.name for entry in path.parent.iterdir()] == ['evaluator.csv']


@pytest.mark.parametrize('content', [
    b'loss,step\n0.5,1\n\xff,2\n', b'loss,step\n0.5,1\n\0,2\n'])
def test_damaged_csv_is_kept_and_a_new_one_begun(tmp_path, capsys, content):
  path = tmp_path / 'a.csv'
  path.write_bytes(content)
  run_loggers.CSVLogger(str(path)).write({'step': 3, 'loss': 0.25})
  assert _rows(path) == [{'step': '3', 'loss': '0.25'}]
  assert (tmp_path / 'damaged-a.csv').read_bytes() == content
  assert f'{path} is damaged' in capsys.readouterr().out


def test_nothing_is_made_before_the_first_row(tmp_path):
  run_loggers.make_logger_fn(str(tmp_path))('evaluator').close()
  assert not list(tmp_path.iterdir())


def test_logger_writes_everywhere(tmp_path, capsys):
  logger = run_loggers.make_logger_fn(str(tmp_path))('evaluator')
  for step in (100, 200):
    logger.write({'learner_steps': step, 'score_mean': jnp.float32(step / 8),
                  'score_std': np.ones(1)})
  logger.close()
  rows = _rows(tmp_path / 'logs' / 'evaluator.csv')
  assert [row['score_mean'] for row in rows] == ['12.5', '25.0']
  assert [row['gradient_steps'] for row in rows] == ['100', '200']
  output = capsys.readouterr().out
  assert output.count('Score Mean = 25.000') == 1
  assert 'Gradient Steps = 200' in output and 'Learner Steps' not in output
  events = event_accumulator.EventAccumulator(
      str(tmp_path / 'tensorboard'), size_guidance={'tensors': 0})
  events.Reload()
  found = events.Tensors('evaluator/ScoreMean')
  assert [event.step for event in found] == [100, 200]
  assert [tensor_util.make_ndarray(event.tensor_proto).item()
          for event in found] == [12.5, 25.]


def test_learner_is_thinned_and_silent(tmp_path, capsys):
  logger = run_loggers.make_logger_fn(str(tmp_path))('learner')
  for step in range(20):  # Far less than a second.
    logger.write({'learner_steps': step, 'loss': 1.})
  logger.close()
  assert len(_rows(tmp_path / 'logs' / 'learner.csv')) < 20
  assert not capsys.readouterr().out


def test_arrays_are_refused(tmp_path):
  logger = run_loggers.make_logger_fn(str(tmp_path))('evaluator')
  with pytest.raises(ValueError, match=r"'loss' has shape \(2,\)"):
    logger.write({'learner_steps': 1, 'loss': np.zeros(2)})
