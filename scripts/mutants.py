"""Measures how many small errors in MSG's mathematics its tests catch.

Usage: python scripts/mutants.py [--sample=N] [--seed=S]. Cosmic Ray changes one
operator, number or condition at a time, in a copy of the sources, and runs the
tests: a change that no test notices survives. Prints each survivor and the
share of changes that were caught.
"""

import argparse
import os
import pathlib
import random
import shlex
import shutil
import subprocess
import sys

from cosmic_ray import work_db
from cosmic_ray import work_item

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_COPY = _ROOT / 'build' / 'mutants' / 'acme_msg'
_SOURCES = (
    'config.py', 'config_checks.py', 'critic_step.py', 'losses.py',
    'member_batch.py', 'policy_step.py', 'state.py', 'update.py')
# Those that fail soonest come first. The tests of learning take too long here.
_TESTS = (
    'config_test.py', 'losses_test.py', 'member_batch_test.py',
    'update_test.py', 'state_test.py', 'phases_test.py')
_CONFIG = '''
[cosmic-ray]
module-path = {sources}
timeout = 1200.0
excluded-modules = []
test-command = "{command}"
[cosmic-ray.distributor]
name = "local"
'''


def _make_copy():
  """Copies the files that git tracks, since Cosmic Ray edits them in place."""
  shutil.rmtree(_COPY, ignore_errors=True)
  names = subprocess.run(
      ['git', 'ls-files', '-z', '*.py', 'pyproject.toml'], cwd=_ROOT,
      check=True, capture_output=True, text=True).stdout.split('\0')
  for name in filter(None, names):
    (_COPY / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_ROOT / name, _COPY / name)


def _run(*command):
  # The copy precedes the sources that are linked into the environment.
  subprocess.run(
      command, cwd=_COPY, check=True,
      env={**os.environ, 'PYTHONPATH': str(_COPY.parent),
           'JAX_COMPILATION_CACHE_DIR': str(_ROOT / '.pytest_cache' / 'jax')})


def _skip_all_but(sample, seed, session):
  """Skips all changes but a random sample; returns how many there are."""
  with work_db.use_db(session) as database:
    items = sorted(
        database.work_items, key=lambda item: str(item.mutations))
    random.Random(seed).shuffle(items)
    for item in items[sample:]:
      database.set_result(item.job_id, work_item.WorkResult(
          worker_outcome=work_item.WorkerOutcome.SKIPPED))
  return len(items)


def _report(session, number):
  with work_db.use_db(session) as database:
    results = [
        (item.mutations[0], result)
        for item, result in database.completed_work_items
        if result.worker_outcome != work_item.WorkerOutcome.SKIPPED]
  survivors = [
      (mutation, result) for mutation, result in results
      if result.test_outcome == work_item.TestOutcome.SURVIVED]
  for mutation, result in survivors:
    print(f'Survived in {mutation.module_path}:\n{result.diff}\n')
  print(f'{len(results) - len(survivors)} of {len(results)} changes caught, '
        f'sampled from {number}.')


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--sample', type=int, default=40)
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  _make_copy()
  tests = [f'tests/agents/msg/{name}' for name in _TESTS]
  python = shlex.quote(sys.executable)
  (_COPY / 'mutants.toml').write_text(_CONFIG.format(
      sources=[f'agents/msg/{name}' for name in _SOURCES],
      command=f'{python} -m pytest -q -x {" ".join(tests)}'))
  print('The tests without changes:', flush=True)
  _run(sys.executable, '-m', 'pytest', '-q', *tests)
  session = str(_COPY / 'mutants.sqlite')
  cosmic_ray = (sys.executable, '-m', 'cosmic_ray.cli')
  _run(*cosmic_ray, 'init', 'mutants.toml', session)
  number = _skip_all_but(options.sample, options.seed, session)
  print(f'Trying {options.sample} changes:', flush=True)
  _run(*cosmic_ray, 'exec', 'mutants.toml', session)
  _report(session, number)


if __name__ == '__main__':
  main()
