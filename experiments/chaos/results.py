"""Compares the results of two runs bit by bit."""

import csv
import os
import pathlib
from typing import Dict, List, Mapping

import jax
import numpy as np
from orbax import checkpoint as ocp

from . import reference
from ...launch import checkpointing

# Columns that hold times.
_TIMES = ('walltime', 'per_second')

Results = Mapping[str, np.ndarray]


def _rows(path: str) -> List[Dict[str, str]]:
  with open(path, newline='') as file:
    # A killed process leaves an incomplete line.
    return list(csv.DictReader(file.read().rpartition('\n')[0].splitlines()))


def num_rows(root_dir: str) -> int:
  """Returns how many learner steps a run has logged, with repeated ones."""
  path = reference.every_step_path(root_dir)
  if not os.path.exists(path):
    return 0
  with open(path, 'rb') as file:
    return max(0, file.read().count(b'\n') - 1)


def last_step(root_dir: str) -> int:
  """Returns the gradient step that was logged last; 0 if none was."""
  path = reference.every_step_path(root_dir)
  rows = _rows(path) if os.path.exists(path) else []
  return int(rows[-1]['gradient_steps']) if rows else 0


def num_repeated(root_dir: str) -> int:
  """Returns how many learner steps a run has done again after resuming."""
  steps = [row['gradient_steps']
           for row in _rows(reference.every_step_path(root_dir))]
  return len(steps) - len(set(steps))


def load(root_dir: str) -> Results:
  """Reads all that a finished run has computed.

  Returns:
    The arrays of the last checkpoint and of `evaluations.npz`, and the metrics
    of each learner step and evaluation, by name. A learner step that was
    done again has several rows, named alike; unless all are equal, each
    has a name of its own.
  """
  step = checkpointing.latest_step(root_dir)
  path = pathlib.Path(root_dir, 'checkpoints', str(step), 'learner')
  handler = ocp.PyTreeCheckpointHandler()
  tree = dict(handler.metadata(path).tree)
  # To NumPy, because the devices it was saved from may not exist here.
  restored = handler.restore(path, args=ocp.args.PyTreeRestore(
      restore_args=jax.tree_util.tree_map(
          lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)))
  found = {
      f'checkpoint{jax.tree_util.keystr(key)}': np.asarray(value)
      for key, value in jax.tree_util.tree_flatten_with_path(restored)[0]}
  found['checkpoint step'] = np.asarray(step)
  with np.load(os.path.join(root_dir, 'evaluations.npz')) as arrays:
    found.update({f'evaluations.npz {name}': arrays[name] for name in arrays})
  for name in ('every_step', 'evaluator'):
    rows = _rows(os.path.join(root_dir, 'logs', f'{name}.csv'))
    columns = sorted(column for column in rows[0]
                     if not any(time in column for time in _TIMES))
    distinct: Dict[str, List[np.ndarray]] = {}
    for row in rows:
      values = np.array([float(row[column] or 'nan') for column in columns])
      seen = distinct.setdefault(row['gradient_steps'], [])
      if not any(differing_bits(values, other) == 0 for other in seen):
        seen.append(values)
    for at, seen in distinct.items():
      for index, values in enumerate(seen):
        found[f'{name} {at}' + (f' ({index})' if index else '')] = values
  return found


def differing_bits(found: np.ndarray, wanted: np.ndarray) -> int:
  """Returns how many bits differ; all, if shapes or types do."""
  if found.shape != wanted.shape or found.dtype != wanted.dtype:
    return 8 * max(found.nbytes, wanted.nbytes, 1)
  bits = [np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
          for array in (found, wanted)]
  return int(np.unpackbits(bits[0] ^ bits[1]).sum())


def compare(found: Results, wanted: Results) -> Dict[str, int]:
  """Returns the differing bits of two runs, by what differs; empty if none."""
  nothing = np.zeros(0, bool)
  differing = {
      name: differing_bits(found.get(name, nothing), wanted.get(name, nothing))
      for name in sorted({*found, *wanted})}
  return {name: bits for name, bits in differing.items() if bits}
