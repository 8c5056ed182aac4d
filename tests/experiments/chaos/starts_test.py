"""Tests the program that starts and stops programs."""

import subprocess
import sys


def test_programs_start_and_stop():
  # In a process of its own, because other commands have flags of these names.
  ended = subprocess.run(
      [sys.executable, '-m', 'acme_msg.experiments.chaos.starts', '--count=2'],
      capture_output=True, text=True, timeout=600)
  assert not ended.returncode, ended.stderr
  assert '2 programs started and stopped in ' in ended.stdout
  assert ' 0 were killed' in ended.stdout
