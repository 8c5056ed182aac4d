"""Describes a dataset and draws it.

  python -m acme_msg.datasets.inspect SRC

SRC is any name that `--dataset` accepts, see `sources.find`. The dataset is
read once, block by block. The output lists sizes, the ranges of all columns,
returns and lengths of the episodes, and warnings. The picture shows returns,
lengths and, for mazes, the positions.
"""

import collections
import logging
import os
import re
from typing import Counter, List, Optional, Sequence

from absl import app
from absl import flags
import numpy as np

from . import data_options
from . import dataset_picture
from . import identity
from . import moments
from . import source_flags
from . import steps as steps_lib
from .. import atomic_files
from .. import command_help

# Rewards are listed if there are at most this many different ones.
_MAX_REWARDS = 8
# Vectors with more columns are summarised in one line.
_MAX_LINES = 40
# Number of positions that are kept for the picture.
_MAX_POSITIONS = 400_000


class Report:
  """Statistics of a dataset.

  Attributes:
    name: name of the source.
    kind: kind of the source.
    identity: see `identity.identify`.
    episodes: returns and lengths of the episodes.
    num_ended: number of actions with discount 0.
    num_cut_off: number of episodes that were truncated.
    observation: moments over all steps except those after an end, `[O]`.
    action: moments over all actions that were taken, `[A]`.
    reward: moments over their rewards, `[1]`.
    rewards: number of occurrences by reward; empty if there are too many.
    positions: `[P, 2]`, the first two observations of evenly spaced steps.
    warnings: what may be wrong.
  """

  def __init__(self, source: steps_lib.Source):
    """Reads a dataset once, block by block; errors are those of `blocks`."""
    self.name, self.kind = source.name, source.kind
    self.identity = identity.identify(source)
    self.num_ended = self.num_cut_off = 0
    self.observation = moments.Moments()
    self.action = moments.Moments()
    self.reward = moments.Moments()
    self.rewards: Counter[float] = collections.Counter()
    self.positions: Optional[np.ndarray] = None
    self._listed, self._stride = True, 1
    with _Warnings(source.name) as logged:
      self.episodes = data_options.summarise(
          map(self._add, source_flags.read(source, 'reading')))
    self.warnings = logged.messages + (
        self._oddities() if self.action.count else [])

  def _add(self, steps: steps_lib.Steps) -> steps_lib.Steps:
    """Adds a block to the statistics of steps, and returns it."""
    real, taken = ~steps.is_terminal, ~steps.is_last
    self.observation.add(steps.observation[real])
    if taken.any():
      self.action.add(steps.action[taken])
      self.reward.add(steps.reward[taken, None])
    self.num_ended += np.count_nonzero(steps.discount[taken] == 0)
    self.num_cut_off += np.count_nonzero(steps.is_last & ~steps.is_terminal)
    if self._listed:
      values, counts = np.unique(steps.reward[taken], return_counts=True)
      self.rewards.update(dict(zip(values.tolist(), counts.tolist())))
      self._listed = len(self.rewards) <= _MAX_REWARDS
      if not self._listed:
        self.rewards.clear()
    positions = [steps.observation[real][::self._stride, :2]]
    if self.positions is not None:
      positions.insert(0, self.positions)
    self.positions = np.concatenate(positions)
    if len(self.positions) > _MAX_POSITIONS:
      self.positions, self._stride = self.positions[::2], 2 * self._stride
    return steps

  def _oddities(self) -> List[str]:
    """Returns warnings about the statistics."""
    warnings = []
    for name in ('observation', 'action'):
      columns = getattr(self, name)
      constant = np.flatnonzero(columns.low == columns.high)
      if len(constant):
        warnings.append(
            f'{name}: constant in the dimensions {constant.tolist()}.')
    if not self.num_ended:
      warnings.append(
          'No action ends an episode (discount 0): all are truncated.')
    elif not self.num_cut_off:
      warnings.append('No episode is truncated: each ends with discount 0.')
    lengths = self.episodes.lengths
    if len(lengths) < 2:
      warnings.append('The whole dataset is one episode.')
    alone = np.count_nonzero(lengths < 2)
    if alone:
      warnings.append(f'{alone} episodes have one step and no transition.')
    short = np.count_nonzero(lengths == 2)
    if 2 * short > len(lengths):
      warnings.append(
          f'{short} of {len(lengths)} episodes have one action, as in D4RL\'s '
          'AntMaze v2, where each row in the goal is terminal: returns and '
          'lengths say little.')
    return warnings


class _Warnings(logging.Handler):
  """Collects the warnings that are logged about a source."""

  def __init__(self, name: str):
    super().__init__(logging.WARNING)
    self.messages: List[str] = []
    self._prefix = f'{name}: '

  def emit(self, record: logging.LogRecord):
    message = record.getMessage()
    if message.startswith(self._prefix):  # Libraries also log warnings.
      self.messages.append(message.removeprefix(self._prefix))

  def __enter__(self) -> '_Warnings':
    logging.getLogger('absl').addHandler(self)
    return self

  def __exit__(self, *unused_error):
    logging.getLogger('absl').removeHandler(self)


def to_text(report: Report) -> str:
  """Returns a report as text."""
  episodes = report.episodes
  lines = [
      f'{report.name} ({report.kind})',
      'identity     ' + ', '.join(
          f'{name} {value}' for name, value in report.identity.items()
          if name not in ('kind', 'path') and value is not None),
      f'transitions  {report.action.count:,}, of which {report.num_ended:,} '
      'end an episode (discount 0)',
      f'episodes     {len(episodes.returns):,}, of which '
      f'{report.num_cut_off:,} were truncated',
      'lengths      ' + _spread(episodes.lengths - 1, 'transitions'),
      'returns      ' + _spread(episodes.returns, 'before transforms')]
  if report.action.count:
    rewards = ', '.join(
        f'{value:g} ({count:,} times)'
        for value, count in sorted(report.rewards.items()))
    lines.append('rewards      ' + (
        rewards or f'more than {_MAX_REWARDS} different ones'))
    lines.append('             ' + _table_row(report.reward, slice(None)))
    for name in ('action', 'observation'):
      columns = getattr(report, name)
      size = len(columns.low)
      lines.append(f'{name} ({size})')
      if size > _MAX_LINES:
        lines.append('         all ' + _table_row(columns, slice(None)))
      else:
        lines += [f'        {i:4d} ' + _table_row(columns, slice(i, i + 1))
                  for i in range(size)]
  lines += ['', 'Warnings:' if report.warnings else 'No warnings.']
  lines += [f'  * {warning}' for warning in report.warnings]
  return '\n'.join(lines)


def _spread(values: np.ndarray, unit: str) -> str:
  low, median, high = np.quantile(values, [0, .5, 1])
  return (f'{low:.6g} to {high:.6g}, median {median:.6g}, '
          f'mean {values.mean():.6g} ({unit})')


def _table_row(columns: moments.Moments, which: slice) -> str:
  # Several columns: the range of all, and the averages of means and deviations.
  low, high = columns.low[which].min(), columns.high[which].max()
  mean, std = columns.mean[which].mean(), columns.std[which].mean()
  return f'{low:11.5g} to {high:<11.5g} mean {mean:<11.5g} std {std:.5g}'


def draw(report: Report, path: str, task_name: str = '') -> None:
  """Draws returns, lengths and, for mazes, positions to a new PNG file.

  A dataset counts as that of a maze if `task_name`, or the name of the source,
  contains 'maze'.

  Raises:
    FileExistsError: if `path` exists.
  """
  is_maze = ('maze' in (task_name + report.name).lower() and
             report.positions.shape[1] == 2)
  dataset_picture.draw(
      path, report.name[-80:], report.episodes,
      report.positions if is_maze else None)


def main(argv: Sequence[str]) -> None:
  if len(argv) != 2:
    raise app.UsageError('Name one dataset: SRC.')
  try:
    source = source_flags.find(argv[1])
    path = flags.FLAGS.output or re.sub(
        r'\.(hdf5|npz)$', '', os.path.basename(argv[1].rstrip('/'))) + '.png'
    atomic_files.check_free(path)  # Before the dataset is read.
    report = Report(source)
    print(to_text(report))
    draw(report, path, flags.FLAGS.task_name)
    print(f'\nPicture: {path}')
  except (OSError, ValueError) as error:
    raise SystemExit(f'Nothing to show: {error}') from error


if __name__ == '__main__':
  # Defined here because importing programs have flags of the same names.
  source_names = source_flags.define()
  flags.DEFINE_string(
      'output', None, "The picture to draw; by default it has the dataset's "
      'name with .png, in this directory. Nothing is overwritten.')
  command_help.run(main, {'Source': source_names, 'Output': ['output']})
