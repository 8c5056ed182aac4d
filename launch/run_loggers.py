"""Where metrics go: CSV files, TensorBoard and the terminal."""

import csv
import functools
import os
from typing import Any, Callable, Dict, List, Optional

from acme.utils import loggers
import numpy as np

from .. import atomic_files

LoggerFn = Callable[..., loggers.Logger]

# Acme's counter key, and the name of our column: the counter counts gradient
# steps. Runs of version 0.1 wrote Acme's key.
_ACME_STEPS = 'learner_steps'
_STEPS = 'gradient_steps'

# The learner's rows are thinned and stay in files: twenty metrics do not fit on
# one line, and `progress` shows the state of the run in the terminal.
_LEARNER = 'learner'
_SECONDS_BETWEEN_ROWS = 1.


def hide_accelerators() -> None:
  """Keeps TensorFlow off the accelerators; it only reads and writes files.

  Has no effect once TensorFlow has found its devices.
  """
  import tensorflow as tf  # Here, because it takes seconds.
  try:
    tf.config.set_visible_devices([], 'GPU')
  except RuntimeError:
    pass


def _gradient_steps(name: str) -> str:
  """Returns a column's name here, from Acme's."""
  return _STEPS if name == _ACME_STEPS else name


class CSVLogger(loggers.Logger):
  """Appends rows to one CSV file, across stops and resumes.

  Acme's `CSVLogger` takes its columns from the first row that *this process*
  writes, so that after a resume they may differ from the file's header; it
  drops all later columns, flushes every 30 rows, and by default begins a new
  directory in each process. Here the file's header decides, every row is
  written at once, and a new column rewrites the file with a longer header.

  A column `learner_steps` of an old file is renamed to `gradient_steps`.

  Rows are never removed: if a run was killed after its last checkpoint and
  resumed, the steps since then occur twice, and the later row counts. A file
  that is no CSV any more is renamed to `damaged-NAME`, and a new one is begun.
  """

  def __init__(self, path: str):
    """Opens or makes the file.

    Args:
      path: the file; its directory is made if missing.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    self._path = path
    self._columns: List[str] = []
    if os.path.exists(path):
      self._drop_torn_row()
      try:
        self._columns = (self._read() or [[]])[0]
      except (UnicodeDecodeError, csv.Error) as e:
        kept = atomic_files.set_aside(path)
        print(f'warning: {path} is damaged ({e}). It is kept as {kept}; later '
              'rows go to a new file.', flush=True)
      if _ACME_STEPS in self._columns:
        self._rewrite([_gradient_steps(name) for name in self._columns])
    self._file = open(path, 'a', newline='', encoding='utf-8')

  def _read(self) -> List[List[str]]:
    with open(self._path, newline='', encoding='utf-8') as f:
      return list(csv.reader(f))

  def _drop_torn_row(self):
    """Cuts off an incomplete last line, which a killed process leaves."""
    with open(self._path, 'rb+') as f:
      f.truncate(f.read().rfind(b'\n') + 1)

  def write(self, data: loggers.LoggingData) -> None:
    new = sorted(set(data) - set(self._columns))
    if new:
      self._file.close()
      self._rewrite(self._columns + new)
      self._file = open(self._path, 'a', newline='', encoding='utf-8')
    writer = csv.DictWriter(self._file, self._columns, lineterminator='\n')
    try:
      writer.writerow(data)
      self._file.flush()
    except OSError as e:
      e.filename = self._path  # Writing does not name the file.
      raise

  def _rewrite(self, columns: List[str]) -> None:
    """Writes the file anew with other names, or more of them at the end."""
    rows = self._read()[1:] if os.path.exists(self._path) else []
    with atomic_files.replace(self._path) as f:
      writer = csv.writer(f, lineterminator='\n')
      writer.writerow(columns)
      writer.writerows(row + [''] * (len(columns) - len(row)) for row in rows)
    self._columns = columns

  def close(self) -> None:
    self._file.close()


class _AtFirstRow(loggers.Logger):
  """Makes a logger, and thereby its files, when the first row is written."""

  def __init__(self, make: Callable[[], loggers.Logger]):
    self._make = make
    self._logger: Optional[loggers.Logger] = None

  def write(self, data: loggers.LoggingData) -> None:
    if self._logger is None:
      self._logger = self._make()
    self._logger.write(data)

  def close(self) -> None:
    if self._logger is not None:
      self._logger.close()


class HeldLoggers:
  """Makes loggers that keep their rows until `release` is called.

  A learner logs within its first step, when the run's directory is not claimed
  yet.
  """

  def __init__(self, logger_fn: LoggerFn):
    self._logger_fn = logger_fn
    self._held: Optional[List[Any]] = []  # Loggers and rows.

  def __call__(self, *args, **kwargs) -> loggers.Logger:
    return _HeldLogger(self._logger_fn(*args, **kwargs), self._write)

  def release(self) -> None:
    """Writes the rows; later rows are written at once."""
    held, self._held = self._held or [], None
    for logger, data in held:
      logger.write(data)

  def _write(self, logger: loggers.Logger, data: loggers.LoggingData) -> None:
    if self._held is None:
      logger.write(data)
    else:
      self._held.append((logger, data))


class _HeldLogger(loggers.Logger):

  def __init__(self, logger: loggers.Logger, write: Callable[..., None]):
    self._logger, self._write = logger, write

  def write(self, data: loggers.LoggingData) -> None:
    self._write(self._logger, data)

  def close(self) -> None:
    self._logger.close()


def _scalars(data: loggers.LoggingData) -> Dict[str, float]:
  """Returns plain Python numbers under our names; refuses larger arrays."""
  row = {}
  for key, value in data.items():
    value = np.asarray(value)
    if value.size != 1:
      raise ValueError(f'Metric {key!r} has shape {value.shape}; log scalars.')
    row[_gradient_steps(key)] = value.item()
  return row


def make_logger_fn(root_dir: str) -> LoggerFn:
  """Returns a factory of loggers that all write below one run's directory.

  Each logger writes `root_dir/logs/<label>.csv`, `root_dir/tensorboard` with
  gradient steps on its axis and, except for the learner, a line in the
  terminal. Acme's key `learner_steps` is written as `gradient_steps`. The
  learner's rows are thinned to one per second. Nothing is made before the first
  row.

  Args:
    root_dir: the run's directory.

  Returns:
    `logger_fn(label, steps_key=None, task_instance=0)`, as Acme's builders want
    it.
  """
  from acme.utils.loggers import tf_summary  # Imports TensorFlow.
  hide_accelerators()

  def logger_fn(label: str, steps_key: Optional[str] = None,
                task_instance: int = 0) -> loggers.Logger:
    del task_instance  # One process writes each label.
    files = [
        _AtFirstRow(lambda: CSVLogger(
            os.path.join(root_dir, 'logs', f'{label}.csv'))),
        _AtFirstRow(lambda: tf_summary.TFSummaryLogger(
            os.path.join(root_dir, 'tensorboard'), label,
            _gradient_steps(steps_key or _ACME_STEPS))),
    ]
    if label == _LEARNER:
      return loggers.TimeFilter(
          loggers.Dispatcher(files, _scalars), _SECONDS_BETWEEN_ROWS)
    terminal = loggers.TerminalLogger(
        label, print_fn=functools.partial(print, flush=True))
    return loggers.Dispatcher([*files, terminal], _scalars)

  return logger_fn
