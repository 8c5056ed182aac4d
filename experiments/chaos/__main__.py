r"""Kills a run again and again, and compares its results bit by bit.

  python -m acme_msg.experiments.chaos --kills=100 --seed=1 --json=chaos.json

A small MSG in the embedded maze is first run without disturbance. Then runs of
the same experiment are disturbed, at random moments, in all their processes:
signals, a full disk (as root, on a small tmpfs), flipped bits in checkpoints.
After each fault the run is resumed. When it is finished, its last checkpoint,
evaluations and metrics must equal those of the undisturbed run in every bit.
Then the next run begins, until there were `--kills` faults.

The exit code is 1 if a bit differs or a run does not go on. docs/RELIABILITY.md
explains the figures.
"""

if __name__ == '__main__':
  from ...launch import quiet  # Before the libraries are imported.
  quiet.quiet_libraries()

import json
import shutil
import signal
import sys
import tempfile

from absl import flags

from . import disturbed
from . import torment
from ... import command_help

_KILLS = flags.DEFINE_integer('kills', 100, 'Number of faults.')
_SEED = flags.DEFINE_integer('seed', 1, 'Seed of the faults.')
_MODES = flags.DEFINE_list(
    'modes', list(disturbed.MODES), 'Kinds of runs, which take turns.')
_LEARNER_STEPS = flags.DEFINE_integer(
    'learner_steps', 720, 'Learner steps of a run; a multiple of 24.')
_JSON = flags.DEFINE_string('json', None, 'File to write all figures to.')


def main(argv):
  """Prints the figures."""
  del argv
  unknown = set(_MODES.value) - set(disturbed.MODES)
  if unknown or not _MODES.value:
    sys.exit(f'error: --modes={",".join(_MODES.value)}: the modes are '
             f'{", ".join(disturbed.MODES)}.')
  if _LEARNER_STEPS.value < 24 or _LEARNER_STEPS.value % 24:
    sys.exit(f'error: --learner_steps={_LEARNER_STEPS.value} is not a multiple '
             'of 24.')
  if _KILLS.value < 1:
    sys.exit(f'error: --kills={_KILLS.value} must be at least 1.')
  # So that runs and the small disk end with this process.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  folder = tempfile.mkdtemp(prefix='acme_msg_chaos_')
  try:
    figures = torment.torment(
        folder, _KILLS.value, _SEED.value, _MODES.value, _LEARNER_STEPS.value)
  except (RuntimeError, KeyboardInterrupt) as e:
    sys.exit(f'error: {str(e) or "stopped"}\n'
             f'What was printed is in {folder}/output.txt.')
  shutil.rmtree(folder)
  for name, value in figures.items():
    if name != 'details':
      print(f'{name}: {value:.4g}' if isinstance(value, float) else
            f'{name}: {value}')
  if _JSON.value:
    with open(_JSON.value, 'w') as file:
      json.dump(figures, file, indent=2)
  if figures['differing_bits'] or figures['unclear_ends']:
    sys.exit(1)


if __name__ == '__main__':
  command_help.run(main)
