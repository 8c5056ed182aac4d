"""The pending evaluations and all results of a run."""

import os
import threading
import time
from typing import (
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from acme.utils import loggers
import numpy as np

from .. import atomic_files

_NAME = 'evaluations.npz'
_COLUMNS = ('steps', 'returns', 'lengths')
_OPTIONAL = ('scores', 'lost')


class Evaluation(NamedTuple):
  """The episodes run with one set of weights.

  Attributes:
    returns: `[episodes]` float64, in the environment's own reward.
    lengths: `[episodes]` int64, environment steps.
    scores: `[episodes]` float64 normalised scores, or None.
  """
  returns: np.ndarray
  lengths: np.ndarray
  scores: Optional[np.ndarray]


def load(root_dir: str) -> Dict[int, Evaluation]:
  """Reads a run's `evaluations.npz`.

  Args:
    root_dir: the run's directory.

  Returns:
    The evaluations by gradient step, in ascending order; empty if there is no
    file yet.

  Raises:
    ValueError: if the file is damaged.
  """
  columns = _read(root_dir)
  if not columns:
    return {}
  scores = columns.get('scores', [None] * len(columns['steps']))
  rows = zip(columns['steps'], columns['returns'], columns['lengths'], scores)
  return {int(step): Evaluation(*row) for step, *row in rows}


def lost(root_dir: str) -> List[int]:
  """Returns the steps whose evaluations are lost, as the file records them.

  Raises:
    ValueError: if the file is damaged.
  """
  return [int(step) for step in _read(root_dir).get('lost', ())]


def _read(root_dir: str) -> Dict[str, np.ndarray]:
  """Returns the columns of a run's file; none if there is no file."""
  path = os.path.join(root_dir, _NAME)
  if not os.path.exists(path):
    return {}
  try:
    with np.load(path, allow_pickle=False) as f:
      columns = dict(f)
    names = set(columns) - set(_OPTIONAL)
    if names != set(_COLUMNS):
      raise ValueError(f'it holds {sorted(columns)}')
    lengths = {len(columns[name]) for name in columns if name != 'lost'}
    if len(lengths) != 1:
      raise ValueError(f'its columns have the lengths {sorted(lengths)}')
  except (MemoryError, PermissionError):
    raise
  # A damaged file can raise anything: the libraries do not list it.
  except Exception as e:  # pylint: disable=broad-except
    raise ValueError(
        f'{path} is damaged: {e or type(e).__name__}. Put back a copy of it; '
        'or move it away to go on without the evaluations in it, which cannot '
        'be repeated.') from e
  return columns


def _write(root_dir: str, done: Dict[int, Evaluation],
           lost_steps: Sequence[int]) -> None:
  """Writes `steps [E]`, `returns`, `lengths`, `scores [E, episodes]`."""
  rows = [done[step] for step in sorted(done)]
  columns = {
      'steps': np.asarray(sorted(done), np.int64),
      'returns': np.stack([row.returns for row in rows]),
      'lengths': np.stack([row.lengths for row in rows]),
  }
  if rows[0].scores is not None:
    columns['scores'] = np.stack([row.scores for row in rows])
  if lost_steps:
    columns['lost'] = np.asarray(lost_steps, np.int64)
  path = os.path.join(root_dir, _NAME)
  with atomic_files.replace(path, 'wb') as f:
    np.savez(f, **columns)


class Evaluations:
  """Hands published weights to evaluators and keeps what they report.

  Each published step is evaluated once, by any evaluator, at any time.
  Evaluators have names: one that claims again before it has reported was
  restarted, and gets the same weights again. Thread-safe.
  """

  def __init__(
      self,
      root_dir: str,
      score_fn: Optional[Callable[[np.ndarray], Optional[np.ndarray]]] = None,
      logger: Optional[loggers.Logger] = None):
    """Reads the file in `root_dir`, if there is one.

    Args:
      root_dir: the run's directory.
      score_fn: maps returns `[episodes]` to scores `[episodes]` or None.
      logger: gets one row per evaluation.

    Raises:
      ValueError: if the file is damaged.
    """
    self._root_dir = root_dir
    self._score_fn = score_fn
    self._logger = logger
    self._done = load(root_dir)
    self._lost: List[int] = []
    self._waiting: Dict[int, bytes] = {}
    self._claimed: Dict[str, Tuple[int, bytes]] = {}
    self._claimed_at: Dict[str, str] = {}
    self._changed = threading.Condition()

  def resume(self, step: int, pending: Mapping[int, bytes],
             evaluated_steps: Iterable[int]) -> Sequence[int]:
    """Continues from a checkpoint, before anything is published.

    Args:
      step: the checkpoint's gradient step. Later evaluations belong to weights
        that are trained again; they are repeated.
      pending: weights by step that were not evaluated when it was saved.
      evaluated_steps: the steps at which the run is evaluated.

    Returns:
      Earlier steps that are lost: they are not in the file, and their weights
      are nowhere. The file records them.
    """
    with self._changed:
      self._done = {at: evaluation for at, evaluation in self._done.items()
                    if at <= step}
      self._waiting = {at: weights for at, weights in pending.items()
                       if at not in self._done}
      self._lost = [at for at in evaluated_steps if at < step
                    and at not in self._done and at not in self._waiting]
      if self._lost and self._done:
        _write(self._root_dir, self._done, self._lost)
      self._changed.notify_all()
      return self._lost

  def publish(self, step: int, weights: bytes) -> None:
    """Offers the weights of a gradient step, unless it is evaluated already."""
    with self._changed:
      if step not in self._done:
        self._waiting[step] = weights
        self._changed.notify_all()

  def claim(self, evaluator: str,
            timeout: float = 0.) -> Optional[Tuple[int, bytes]]:
    """Returns the oldest unclaimed step with its weights.

    Args:
      evaluator: the evaluator's name.
      timeout: seconds to wait for a step.

    Returns:
      The gradient step and its weights, or None if there is none.
    """
    with self._changed:
      if evaluator not in self._claimed:
        if not self._changed.wait_for(lambda: self._waiting, timeout):
          return None
        step = min(self._waiting)
        self._claimed[evaluator] = (step, self._waiting.pop(step))
        self._claimed_at[evaluator] = time.strftime('%H:%M:%S')
      return self._claimed[evaluator]

  def report(self, evaluator: str, returns: Sequence[float],
             lengths: Sequence[int]) -> None:
    """Stores the result of the evaluator's claimed weights.

    Args:
      evaluator: the name under which they were claimed.
      returns: `[episodes]` undiscounted returns.
      lengths: `[episodes]` environment steps.

    Raises:
      ValueError: if the evaluator has claimed nothing.
    """
    with self._changed:
      if evaluator not in self._claimed:
        raise ValueError(f'Evaluator {evaluator!r} reports a result, but has '
                         'claimed no weights.')
      step, _ = self._claimed[evaluator]
      returns = np.asarray(returns, np.float64)
      lengths = np.asarray(lengths, np.int64)
      scores = self._score_fn(returns) if self._score_fn else None
      if scores is not None:
        scores = np.asarray(scores, np.float64)
      self._done[step] = Evaluation(returns, lengths, scores)
      _write(self._root_dir, self._done, self._lost)
      self._log(step, self._done[step])
      del self._claimed[evaluator]
      self._changed.notify_all()

  def _log(self, step: int, evaluation: Evaluation) -> None:
    returns, lengths, scores = evaluation
    row = {
        'gradient_steps': step,
        'episodes': len(returns),
        'return_mean': returns.mean(),
        'return_std': returns.std(),
        'return_min': returns.min(),
        'return_max': returns.max(),
        'length_mean': lengths.mean(),
    }
    if scores is not None:
      row.update(score_mean=scores.mean(), score_std=scores.std())
    if self._logger:
      self._logger.write(row)

  def last_result(self) -> str:
    """Returns the last evaluation's mean in words; empty if there is none."""
    with self._changed:
      if not self._done:
        return ''
      step = max(self._done)
      returns, _, scores = self._done[step]
    if scores is None:
      return f'return {returns.mean():.4g} at step {step:,}'
    return f'score {scores.mean():.4g} at step {step:,}'

  def outstanding(self) -> int:
    """Returns how many published steps are not reported."""
    with self._changed:
      return len(self._waiting) + len(self._claimed)

  def awaited(self) -> str:
    """Returns in words who evaluates what, since when."""
    with self._changed:
      parts = [f'{name} (evaluates step {step:,} since '
               f'{self._claimed_at[name]})'
               for name, (step, _) in sorted(self._claimed.items())]
      if self._waiting:
        steps = ', '.join(f'{step:,}' for step in sorted(self._waiting))
        parts.append(f'an evaluator to take step {steps}')
    return ' and '.join(parts) or 'evaluations'

  def pending(self, before: int) -> Dict[int, bytes]:
    """Returns the weights of published steps below `before`, not reported."""
    with self._changed:
      weights = dict([*self._waiting.items(), *self._claimed.values()])
    return {step: weights[step] for step in sorted(weights) if step < before}
