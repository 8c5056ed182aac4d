"""Tests `--help` of the commands: their own flags, in groups."""

import re

from absl import flags
from acme_msg.experiments import experiment_flags

_GROUPS = {
    'run': ['Task', 'Data', 'Agent', 'Budget', 'Output', 'Nodes', 'Debugging'],
    'quickstart': ['Task', 'Budget', 'Output', 'Nodes'],
    'independence': ['Output'],
    'examples.offline_distributed_layout': ['Nodes'],
    'examples.local_layout': [],
    'examples.offline_loop': [],
    'examples.online_finetuning': [],
    'examples.own_builder': [],
    'benchmark': ['Programs', 'Measurement'],
    'benchmark.data': ['Data', 'Measurement'],
    'benchmark.collectives': ['Programs', 'Devices'],
}
# Runs each command in a fork of one process, which imports the libraries once.
_HELP = '''
import os
import runpy
import sys
import acme_msg.builders
import acme_msg.launch.local
import matplotlib.figure

for name in sys.argv[1:]:
  print(f'== {name}', flush=True)
  child = os.fork()
  if not child:
    sys.argv = [name, '--help']
    runpy.run_module(
        f'acme_msg.experiments.{name}', run_name='__main__', alter_sys=True)
  assert os.waitpid(child, 0)[1] == 0, name
'''


def test_help_shows_the_commands_own_flags(run):
  result = run(*_GROUPS, code=_HELP)
  assert result.code == 0, result.stderr
  texts = dict(re.findall(
      r'^== (\S+)\n(.*?)(?=^== |\Z)', result.stdout, re.MULTILINE | re.DOTALL))
  assert list(texts) == list(_GROUPS)
  for name, text in texts.items():
    assert re.findall(r'^(\w+):\n +--', text, re.MULTILINE) == _GROUPS[name]
    # Flags of absl and of Launchpad.
    assert '--stderrthreshold' not in text and 'tmux' not in text
  assert re.search(r'--\[no\]run_local: Run everything', texts['run'])
  assert re.search(r'--algorithm: <msg\|batch_ensemble_msg\|', texts['run'])


def test_every_flag_of_an_experiment_is_in_a_group():
  grouped = [
      name for group in experiment_flags.GROUPS.values() for name in group]
  defined = [flag.name for flag in flags.FLAGS.get_flags_for_module(
      experiment_flags.__name__)]
  assert sorted(grouped + ['dataset_path']) == sorted(defined)
