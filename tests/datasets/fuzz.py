"""Loads randomly broken datasets, each loader in a child process with limits.

  python tests/datasets/fuzz.py [--seconds=600] [--seed=0] [LOADER ...]

Each input must load, or end in a ValueError or FileNotFoundError that names the
dataset. Everything else (another exception, a crash, more than 60 s, memory, an
import of the module that the inputs name) is a finding: it is printed with its
number, and the code is 1. `--case=NUMBER` loads that one input here, with its
traceback. Seed and number determine the input.
"""

import argparse
import collections
import faulthandler
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

LOADERS = ('hdf5', 'rlds', 'minari', 'ogbench', 'episodes')
_LIMIT_S = 60
_MEMORY = 6 * 2**30
_EXPECTED = ('loaded', 'ValueError', 'FileNotFoundError')


def _made() -> list:
  rng = np.random.default_rng(0)
  return [{
      'observations': rng.standard_normal((length + 1, 5)).astype(np.float32),
      'actions': rng.uniform(-1, 1, (length, 2)).astype(np.float32),
      'rewards': rng.standard_normal(length).astype(np.float32),
      'terminated': index % 3 == 1,
  } for index, length in enumerate([5, 3, 1, 12, 4, 7, 2, 6, 1])]


def _write_originals(loader: str, folder: str):
  """Writes small datasets with the format's own library."""
  import pathlib  # pylint: disable=g-import-not-at-top

  import writing  # pylint: disable=g-import-not-at-top
  made, folder = _made(), pathlib.Path(folder)
  nested = [{**e, 'observations': {
      'a': e['observations'][:, :2], 'b': {'c': e['observations'][:, 2:]}}}
            for e in made]
  for number, kind in enumerate({
      'hdf5': ['d4rl', 'd4rl gzip'], 'minari': ['minari', 'nested minari'],
      'ogbench': ['ogbench'], 'rlds': ['rlds', 'tfds', 'nested tfds'],
      'episodes': []}[loader]):
    place = folder / str(number)
    place.mkdir()
    os.environ['MINARI_DATASETS_PATH'] = str(place)
    path = writing.WRITERS[kind.split()[-1] if 'nested' in kind else kind](
        place, nested if 'nested' in kind else made)
    found = {
        'minari': place / 'mine-test-v0', 'ogbench': place / 'mine.npz',
        'hdf5': place / 'rows.hdf5'}.get(loader) or (
            place / 'rlds' if kind == 'rlds' else place / 'tfds/mine/1.2.0')
    shutil.move(found, folder / f'original{number}{found.suffix}')
    shutil.rmtree(place)
    del path


def _make(loader: str, folder: str, seed: int, number: int):
  """Returns a function that loads an input, and its name in messages."""
  from acme_msg import datasets  # pylint: disable=g-import-not-at-top
  import mutations  # pylint: disable=g-import-not-at-top
  rng = np.random.default_rng([seed, number])
  if loader == 'episodes':
    odd = mutations.mutate_episodes(rng, _made())
    return lambda: datasets.load(datasets.from_episodes(odd, 'mine')), 'mine'
  originals = sorted(
      name for name in os.listdir(folder) if name.startswith('original'))
  original = originals[rng.integers(len(originals))]
  path = os.path.join(folder, original.replace('original', 'case'))
  shutil.rmtree(path, ignore_errors=True)
  if os.path.isdir(os.path.join(folder, original)):
    shutil.copytree(os.path.join(folder, original), path)
  else:
    shutil.copy(os.path.join(folder, original), path)
  mutate = {'hdf5': mutations.mutate_hdf5, 'rlds': mutations.mutate_tfds,
            'minari': mutations.mutate_hdf5, 'ogbench': mutations.mutate_npz}
  mutate[loader](rng, os.path.join(path, 'data/main_data.hdf5')
                 if loader == 'minari' else path)

  def load():
    source = datasets.find(path, 'hopper-medium-v2')
    if number % 2:
      return datasets.load(source)
    return list(datasets.transition_blocks(source, num_rows=7))
  return load, path


def _resident() -> int:
  """Returns the resident memory of this process, in bytes."""
  with open('/proc/self/statm', encoding='ascii') as file:
    return int(file.read().split()[1]) * resource.getpagesize()


def _child(loader: str, folder: str, seed: int):
  """Loads the inputs whose numbers come on stdin, and tells the outcomes."""
  resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
  faulthandler.enable()
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  for line in sys.stdin:
    load, name = _make(loader, folder, seed, int(line))
    try:
      load()
      outcome, message = 'loaded', ''
    except Exception as error:  # pylint: disable=broad-except
      outcome, message = type(error).__name__, str(error)
      if outcome in _EXPECTED and name not in message:
        outcome = f'{outcome} without the name'
    if 'fuzz_canary' in sys.modules:
      outcome = 'code of the input was executed'
    print(json.dumps({
        'outcome': outcome, 'message': message[:2000],
        'resident': _resident(),
        'peak': 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}),
          file=answers, flush=True)


class _Worker:
  """A child process that loads inputs."""

  def __init__(self, loader: str, folder: str, seed: int):
    with open(os.path.join(folder, 'stderr'), 'w', encoding='utf-8') as log:
      self._process = subprocess.Popen(
          [sys.executable, __file__, '--child', folder, f'--seed={seed}',
           loader], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
          text=True, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3',
                          'CUDA_VISIBLE_DEVICES': ''})
    self._limit = 300  # The first input includes the imports.

  def load(self, number: int) -> dict:
    self._process.stdin.write(f'{number}\n')
    self._process.stdin.flush()
    ready = select.select([self._process.stdout], [], [], self._limit)[0]
    self._limit = _LIMIT_S
    line = self._process.stdout.readline() if ready else ''
    if line:
      return json.loads(line)
    self._process.kill()
    code = self._process.wait()
    return {'outcome': f'crash, code {code}' if ready else 'hang'}

  def close(self):
    self._process.kill()
    self._process.wait()


def _fuzz(loader: str, seconds: float, seed: int) -> bool:
  """Fuzzes a loader, prints the figures, and tells whether all was expected."""
  with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
    _write_originals(loader, folder)
    with open(os.path.join(folder, 'fuzz_canary.py'), 'w',
              encoding='ascii'):
      pass
    os.environ['PYTHONPATH'] = os.pathsep.join(
        [folder, os.path.dirname(os.path.abspath(__file__)),
         os.environ.get('PYTHONPATH', '')])
    outcomes: collections.Counter = collections.Counter()
    worker, first, last, number = None, None, None, 0
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
      if worker is None:
        worker = _Worker(loader, folder, seed)
        since = number
      found = worker.load(number)
      outcomes[found['outcome']] += 1
      if found['outcome'] not in _EXPECTED:
        print(f'{loader} --seed={seed} --case={number}: {found["outcome"]}: '
              f'{found.get("message", "")}', flush=True)
      if 'peak' not in found:
        worker.close()
        worker = None
      elif number == since + 200:
        first = found
      elif first and number > since + 200:
        last = found
      number += 1
    if worker:
      worker.close()
  print(f'{loader}: {number} inputs in {seconds:g} s, seed {seed}: '
        + ', '.join(f'{count} {name}' for name, count
                    in outcomes.most_common()))
  if last:
    print(f'{loader}: memory after 200 inputs and at the end, MB: ' + ', '.join(
        f'{name} {first[name] / 1e6:.0f} and {last[name] / 1e6:.0f}'
        for name in ('resident', 'peak')), flush=True)
  return set(outcomes) <= set(_EXPECTED)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('loaders', nargs='*', metavar='LOADER')
  parser.add_argument('--seconds', type=float, default=600.)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--case', type=int)
  parser.add_argument('--child', help=argparse.SUPPRESS)
  args = parser.parse_args()
  loaders = args.loaders or LOADERS
  if args.child:
    _child(loaders[0], args.child, args.seed)
  elif args.case is not None:
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
      _write_originals(loaders[0], folder)
      print(_make(loaders[0], folder, args.seed, args.case)[0]())
  else:
    good = [_fuzz(loader, args.seconds, args.seed) for loader in loaders]
    sys.exit(not all(good))


if __name__ == '__main__':
  main()
