"""Where metrics go: CSV files, TensorBoard and the terminal."""

import csv
import functools
import os
from typing import Callable, Dict, List, Optional

from acme.utils import loggers
from acme.utils.loggers import tf_summary
import numpy as np
import tensorflow as tf

LoggerFn = Callable[..., loggers.Logger]

# TensorFlow only writes files here; the accelerators are JAX's. Must be said
# before anything, Reverb for one, has TensorFlow look for them.
tf.config.set_visible_devices([], 'GPU')

# The learner's rows are thinned and stay in files: twenty metrics are no line
# to read, and `progress` shows in the terminal what there is to follow.
_LEARNER = 'learner'
_SECONDS_BETWEEN_ROWS = 1.


class CSVLogger(loggers.Logger):
  """Appends rows to one CSV file, across stops and resumes.

  Acme's `CSVLogger` takes its columns from the first row that *this process*
  writes, so that after a resume they may differ from the file's header; it
  drops all later columns, flushes every 30 rows, and by default begins a new
  directory in each process. Here the file's header decides, every row is
  written at once, and a new column rewrites the file with a longer header.

  Rows are never removed: steps that were trained twice, because a run was
  killed after its last checkpoint, are there twice, and the later row counts.
  """

  def __init__(self, path: str):
    """Opens or makes the file.

    Args:
      path: of the file; its directory is made if missing.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    self._path = path
    self._columns: List[str] = []
    if os.path.exists(path):
      self._drop_torn_row()
      with open(path, newline='') as f:
        self._columns = next(csv.reader(f), [])
    self._file = open(path, 'a', newline='')

  def _drop_torn_row(self):
    """Cuts off a last line without its end, left by a killed process."""
    with open(self._path, 'rb+') as f:
      f.truncate(f.read().rfind(b'\n') + 1)

  def write(self, data: loggers.LoggingData) -> None:
    new = sorted(set(data) - set(self._columns))
    if new:
      self._add_columns(new)
    writer = csv.DictWriter(self._file, self._columns, lineterminator='\n')
    writer.writerow(data)
    self._file.flush()

  def _add_columns(self, new: List[str]) -> None:
    self._file.close()
    with open(self._path, newline='') as f:
      rows = list(csv.DictReader(f))
    self._columns = self._columns + new
    temporary = self._path + '.tmp'
    with open(temporary, 'w', newline='') as f:
      writer = csv.DictWriter(f, self._columns, lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)
    os.replace(temporary, self._path)
    self._file = open(self._path, 'a', newline='')

  def close(self) -> None:
    self._file.close()


def _scalars(data: loggers.LoggingData) -> Dict[str, float]:
  """Returns plain Python numbers; refuses arrays of several."""
  row = {}
  for key, value in data.items():
    value = np.asarray(value)
    if value.size != 1:
      raise ValueError(f'Metric {key!r} has shape {value.shape}; log scalars.')
    row[key] = value.item()
  return row


def make_logger_fn(root_dir: str) -> LoggerFn:
  """Returns a maker of loggers that all write below one run's directory.

  Each logger writes `root_dir/logs/<label>.csv`, `root_dir/tensorboard` with
  `learner_steps` (gradient steps) as its axis and, but for the learner, a line
  in the terminal. The learner's rows are thinned to one per second.

  Args:
    root_dir: the run's directory.

  Returns:
    `logger_fn(label, steps_key=None, task_instance=0)`, as Acme's builders want
    it.
  """
  def logger_fn(label: str, steps_key: Optional[str] = None,
                task_instance: int = 0) -> loggers.Logger:
    del task_instance  # One process writes each label.
    files = [
        CSVLogger(os.path.join(root_dir, 'logs', f'{label}.csv')),
        tf_summary.TFSummaryLogger(
            os.path.join(root_dir, 'tensorboard'), label,
            steps_key or 'learner_steps'),
    ]
    if label == _LEARNER:
      return loggers.TimeFilter(
          loggers.Dispatcher(files, _scalars), _SECONDS_BETWEEN_ROWS)
    terminal = loggers.TerminalLogger(
        label, print_fn=functools.partial(print, flush=True))
    return loggers.Dispatcher([*files, terminal], _scalars)

  return logger_fn
