r"""Records and draws the memory of each process of a run.

Trains MSG on the embedded maze with streamed data and an evaluation after each
learner step, samples the memory of each process, and stops the run after
`--hours`:

  python -m acme_msg.experiments.chaos.soak --hours=2 --output=runs/soak

`--hours=0` draws the samples that are there, also those of a soak that runs.
Memory is RSS, which includes 250 MB of libraries that the processes share. (PSS
divides shared pages, so it changes with whatever else runs on the machine.)
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import collections
import csv
import os
import signal
import sys
import time
from typing import Dict, List, NamedTuple

from absl import flags
from matplotlib import figure as figure_lib
import numpy as np
import psutil

from . import program as program_lib
from .. import plots
from ... import command_help

_HOURS = flags.DEFINE_float('hours', 2., 'Hours to train; 0: draw only.')
_OUTPUT = flags.DEFINE_string(
    'output', 'runs/soak', 'Directory of the run, memory.csv and memory.png.')
_PERIOD = flags.DEFINE_float('period', 10., 'Seconds between samples.')

# Those of the run; small networks leave most of the time to evaluations.
_ARGUMENTS = (
    '--gin_configs=pointmaze.gin', '--data_mode=stream', '--num_steps=1000000',
    '--eval_every_steps=1', '--episodes_per_eval=1',
    '--gin_bindings=msg.config.MSGConfig.actor_network_hidden_sizes=(32,)',
    '--gin_bindings=msg.config.MSGConfig.critic_network_hidden_sizes=(32,)',
    '--gin_bindings=msg.config.MSGConfig.num_sgd_steps_per_step=20')
_COLUMNS = ('seconds', 'process', 'pid', 'rss_mb', 'evaluations')


class Samples(NamedTuple):
  """One process over time.

  Attributes:
    hours: since the start, `[T]`.
    rss_mb: memory, `[T]`.
    evaluations: of the run so far, `[T]`.
  """
  hours: np.ndarray
  rss_mb: np.ndarray
  evaluations: np.ndarray


def record(root_dir: str, seconds: float, period: float) -> None:
  """Runs the program in `root_dir/run`; appends to `root_dir/memory.csv`.

  Raises:
    RuntimeError: if the program ends before it is stopped.
  """
  os.makedirs(root_dir)
  logged = os.path.join(root_dir, 'run', 'logs', 'evaluator.csv')
  command = [sys.executable, '-m', 'acme_msg.experiments.run',
             f'--root_dir={root_dir}/run', *_ARGUMENTS]
  with program_lib.Program(
      command, os.path.join(root_dir, 'output.txt')) as program, open(
          os.path.join(root_dir, 'memory.csv'), 'w', buffering=1) as file:
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    evaluated = 0
    while time.time() < program.started + seconds and not program.is_over():
      if os.path.exists(logged):
        with open(logged, 'rb') as log:
          evaluated = max(0, sum(1 for _ in log) - 1)
      count: Dict[str, int] = collections.Counter()
      for process in program.processes():
        try:
          memory, group = process.memory_info(), program.group(process)
        except psutil.Error:
          continue  # It has ended.
        writer.writerow([
            round(time.time() - program.started, 1), f'{group} {count[group]}',
            process.pid, round(memory.rss / 1e6, 2), evaluated])
        count[group] += 1
      time.sleep(period)
    if program.is_over():
      raise RuntimeError(f'the run has ended:\n{program.output()[-3000:]}')
    [launcher] = program.processes('launcher')
    program_lib.send(launcher, signal.SIGTERM)
    program.wait()
    print(program.output()[-500:])


def load(path: str) -> Dict[str, Samples]:
  """Reads a recorded CSV file; returns the samples of each process."""
  rows: Dict[str, List[List[float]]] = collections.defaultdict(list)
  with open(path) as file:
    for row in csv.DictReader(file):
      if row['evaluations']:  # The last line may be incomplete.
        rows[f'{row["process"]} (pid {row["pid"]})'].append([
            float(row['seconds']) / 3600, float(row['rss_mb']),
            float(row['evaluations'])])
  return {name: Samples(*np.array(found).T) for name, found in rows.items()
          if len(found) >= 10}  # A helper that ends at once is none.


def draw(path: str, output_png: str) -> None:
  """Draws memory against time, and prints the growth in the second half."""
  figure = figure_lib.Figure(figsize=(7, 3.5), layout='constrained')
  axes = figure.subplots()
  for (name, found), color in zip(load(path).items(), plots.COLORS):
    axes.plot(found.hours, found.rss_mb, label=name, color=color)
    late = found.hours >= found.hours[-1] / 2
    slope = np.polyfit(found.hours[late], found.rss_mb[late], 1)[0]
    print(f'{name}: {found.rss_mb[-1]:.0f} MB after {found.hours[-1]:.2f} h; '
          f'{slope:+.2f} MB/h in the second half, in which '
          f'{np.ptp(found.evaluations[late]):.0f} of '
          f'{found.evaluations[-1]:.0f} evaluations came in')
  axes.set(xlabel='hours', ylabel='memory (RSS), MB', ylim=(0, None))
  plots.add_grid(axes)
  axes.legend(fontsize=8)
  plots.save(figure, output_png)


def main(argv):
  """Records, unless told not to, and draws."""
  del argv
  # So that the run ends with this process.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  output = os.path.abspath(_OUTPUT.value)
  if _HOURS.value:
    if os.path.exists(output):
      sys.exit(f'error: --output={output} exists: name a new directory.')
    record(output, 3600 * _HOURS.value, _PERIOD.value)
  draw(os.path.join(output, 'memory.csv'), os.path.join(output, 'memory.png'))


if __name__ == '__main__':
  command_help.run(main)
