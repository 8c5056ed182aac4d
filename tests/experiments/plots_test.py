"""Tests the learning curve."""

from acme_msg.experiments import plots
from acme_msg.launch import evaluations
import numpy as np
from PIL import Image
import pytest


def _make_run(root_dir, means, score_fn=None):
  """Writes a run's evaluations, as the learner node does."""
  root_dir.mkdir()
  results = evaluations.Evaluations(str(root_dir), score_fn)
  for i, mean in enumerate(means):
    results.publish(1000 * (i + 1), b'')
    results.claim('one')
    results.report('one', [mean - 0.1, mean, mean + 0.1], [5, 6, 7])
  return str(root_dir)


def _color_rows(path, color):
  """Returns the rows of the picture with this colour, from top to bottom."""
  pixels = np.asarray(Image.open(path).convert('RGB')).astype(int)
  wanted = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
  return np.flatnonzero((abs(pixels - wanted).max(-1) < 3).any(1))


def test_runs_are_drawn_in_their_order(tmp_path):
  """The better run's line lies higher."""
  high = _make_run(tmp_path / 'high', [0.7, 0.8, 0.9])
  low = _make_run(tmp_path / 'low', [0.1, 0.2, 0.1])
  path = tmp_path / 'new folder' / 'curve.png'
  plots.learning_curve({'MSG': high, 'BC': low}, str(path), 'A task')
  first, second = (_color_rows(path, c) for c in plots.COLORS[:2])
  # The two entries of the legend are in the same order.
  assert first.size and second.size
  assert np.median(first) < np.median(second)
  assert not _color_rows(path, plots.COLORS[2]).size
  assert [p.name for p in path.parent.iterdir()] == ['curve.png']


def test_a_picture_is_replaced(tmp_path):
  run = _make_run(tmp_path / 'run', [0.5])
  path = tmp_path / 'curve.png'
  plots.learning_curve({'MSG': run}, str(path), 'Before')
  before = path.read_bytes()
  plots.learning_curve({'MSG': run}, str(path), 'After')
  assert path.read_bytes() != before


def test_what_cannot_be_drawn_is_refused(tmp_path):
  scored = _make_run(tmp_path / 'scored', [0.5], lambda returns: 100 * returns)
  unscored = _make_run(tmp_path / 'unscored', [0.5])
  path = tmp_path / 'curve.png'
  with pytest.raises(ValueError, match='no runs'):
    plots.learning_curve({}, str(path), '')
  with pytest.raises(ValueError, match="'new' in .*/nowhere has no evaluat"):
    plots.learning_curve({'new': str(tmp_path / 'nowhere')}, str(path), '')
  with pytest.raises(ValueError, match=r"\['b'\] have no normalised scores"):
    plots.learning_curve({'a': scored, 'b': unscored}, str(path), '')
  assert not path.exists()
