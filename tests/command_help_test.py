"""`--help` shows a program's own flags in groups."""

import subprocess
import sys

_PROGRAM = '''"""A program.

  More about it.
"""
from absl import app
from absl import flags
from acme_msg import command_help

flags.DEFINE_string('name', 'x', 'Whose name.')
flags.DEFINE_bool('loud', False, 'How to say it.')
flags.DEFINE_integer('number', 1, 'How often.')


def main(argv):
  if len(argv) < 2:
    raise app.UsageError('Say what.')
  print(argv[1:], flags.FLAGS.number)


if __name__ == '__main__':
  command_help.run(main, {'Speech': ['loud', 'name', 'logtostderr']})
'''


def _run(path, *arguments):
  return subprocess.run(
      [sys.executable, str(path), *arguments], capture_output=True, text=True,
      check=False)


def test_help_shows_groups_of_own_flags(tmp_path):
  path = tmp_path / 'program.py'
  path.write_text(_PROGRAM)
  shown = _run(path, '--number=2', '--help')
  assert shown.returncode == 0 and not shown.stderr
  docstring, shown_flags = shown.stdout.split('\n\nSpeech:\n')
  speech, other = shown_flags.split('\n\nFlags:\n')
  assert docstring == 'A program.\n\nMore about it.'
  assert [line.split(':')[0] for line in speech.splitlines()
          if line.startswith('  --')] == [
              '  --[no]logtostderr', '  --[no]loud', '  --name']
  assert '--number: How often.\n    (default: \'1\')' in other
  assert 'pdb' not in shown_flags

  ran = _run(path, '--number=2', 'it')
  assert ran.returncode == 0 and ran.stdout == "['it'] 2\n"
  refused = _run(path)
  assert refused.returncode == 1
  assert refused.stderr == 'error: Say what. --help describes the command.\n'
  refused = _run(path, '--numbers=2')
  assert refused.returncode != 0 and 'numbers' in refused.stderr
