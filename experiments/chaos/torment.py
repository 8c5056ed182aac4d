"""Disturbs runs until there were enough faults, and sums up what they cost."""

import collections
import contextlib
import dataclasses
import itertools
import os
import shutil
import subprocess
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from . import disturbed
from . import faults
from . import reference
from . import results

_DISK_BYTES = 64 * 2**20
_HOUR = 3600.


@contextlib.contextmanager
def small_disk(folder: str) -> Iterator[Optional[str]]:
  """Yields a file system of 64 MiB in `folder`; None without the right to."""
  os.makedirs(folder)
  mounted = subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={_DISK_BYTES}', 'tmpfs', folder],
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
  try:
    yield folder if mounted else None
  finally:
    if mounted:
      subprocess.run(['umount', '--lazy', folder], check=True)


def torment(folder: str, num_faults: int, seed: int, modes: Sequence[str],
            num_steps: int) -> Dict[str, Any]:
  """Disturbs runs and compares them with undisturbed ones.

  Args:
    folder: an empty directory to work in.
    num_faults: the number of faults.
    seed: of the faults.
    modes: names in `disturbed.MODES`.
    num_steps: learner steps of a run.

  Returns:
    The figures, as plain JSON; see `summarize`.

  Raises:
    RuntimeError: if a run fails without a fault.
    program.Hanging: if a run does not go on or does not end.
  """
  # Equal programs are compiled once.
  env = {} if 'JAX_COMPILATION_CACHE_DIR' in os.environ else {
      'JAX_COMPILATION_CACHE_DIR': os.path.join(folder, 'compiled'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}
  output = os.path.join(folder, 'output.txt')

  def make_run(parent: str, name: str, mode: str) -> disturbed.Run:
    return disturbed.Run(
        os.path.join(parent, name), mode, num_steps, output, env)

  wanted: Dict[str, results.Results] = {}
  seconds: Dict[str, float] = {}
  finished: List[Dict[str, Any]] = []
  events: List[disturbed.Event] = []
  with small_disk(os.path.join(folder, 'disk')) as disk:
    if not disk:
      print('No right to mount a small disk: none is filled.')
    disturber = faults.Disturber(seed, disk)
    for mode in itertools.cycle(modes):
      if len(events) >= num_faults:
        break
      if mode not in wanted:
        # The first one compiles, which no later one does.
        for name in (f'compiling-{mode}', f'undisturbed-{mode}'):
          run = make_run(folder, name, mode)
          run.finish()
        wanted[mode], seconds[mode] = results.load(run.root_dir), run.seconds
        print(f'undisturbed, {mode}: {run.seconds:.0f} s', flush=True)
      run = make_run(os.path.join(folder, 'disk'), f'{len(finished)}', mode)
      run.finish(disturber, num_faults - len(events))
      events += run.events
      finished.append({
          'mode': mode, 'seconds': run.seconds,
          'faults': len(run.events),
          'undisturbed_seconds': seconds[mode],
          'gradient_steps': num_steps * reference.SGD_STEPS,
          'gradient_steps_redone':
              results.num_repeated(run.root_dir) * reference.SGD_STEPS,
          'differing_bits': results.compare(
              results.load(run.root_dir), wanted[mode])})
      print(f'{len(events)} of {num_faults} faults: {finished[-1]}', flush=True)
      shutil.rmtree(run.root_dir)
  return summarize(finished, events)


def summarize(runs: Sequence[Mapping[str, Any]],
              events: Sequence[disturbed.Event]) -> Dict[str, Any]:
  """Returns the figures of finished runs and their faults."""
  ended = [event for event in events if event.code]
  to_resume = [event.seconds_to_resume for event in ended]
  total = sum(run['seconds'] for run in runs)
  useful = sum(run['undisturbed_seconds'] for run in runs)
  per_fault = (total - useful) / max(len(events), 1)
  def count(values):
    return dict(collections.Counter(values))

  return {
      'faults': len(events),
      'by_kind': count(event.fault.what for event in events),
      'by_process': count(event.fault.group for event in events
                          if event.fault.what != 'full disk'),
      'by_moment': count(event.fault.moment for event in events),
      'by_phase': count(event.phase for event in events),
      'by_mode': count(event.mode for event in events),
      'bits_flipped': sum(event.flipped is not None for event in events),
      'programs_ended': len(ended),
      'runs': len(runs),
      'gradient_steps': sum(run['gradient_steps'] for run in runs),
      'gradient_steps_redone': sum(
          run['gradient_steps_redone'] for run in runs),
      'differing_bits': sum(
          sum(run['differing_bits'].values()) for run in runs),
      'unclear_ends': [event.unclear for event in events if event.unclear],
      'seconds_to_end_median': _median([e.seconds_to_end for e in ended]),
      'seconds_to_resume_median': _median(to_resume),
      'seconds_to_resume_max': max(to_resume, default=0.),
      'seconds_total': total,
      'seconds_undisturbed': useful,
      'seconds_lost_per_fault': per_fault,
      'faults_per_hour': _HOUR * len(events) / total,
      'goodput': useful / total,
      # A long run with one such fault per hour of useful time has this.
      'goodput_at_one_fault_per_hour': _HOUR / (_HOUR + per_fault),
      'details': {'runs': list(runs), 'events': [
          {**dataclasses.asdict(event), 'fault': event.fault._asdict()}
          for event in events]},
  }


def _median(values: Sequence[Any]) -> float:
  return float(np.median(values)) if values else 0.
