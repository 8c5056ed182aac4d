"""Checkpoints of the learner and its counter, written together by Orbax."""

import base64
import functools
import json
import os
from typing import Any, Callable, Dict, List, Mapping, Optional

from acme import core
from acme.utils import counting
import jax
import numpy as np
from orbax import checkpoint as ocp

from . import checksums
from .. import atomic_files

_KEEP = 3
# Orbax's own description of a checkpoint.
_METADATA = '_CHECKPOINT_METADATA'


def _directory(root_dir: str) -> str:
  return os.path.join(root_dir, 'checkpoints')


def latest_step(root_dir: str) -> Optional[int]:
  """Returns the gradient step of a run's last complete checkpoint, or None."""
  return max(_steps(root_dir), default=None)


def _steps(root_dir: str) -> List[int]:
  directory = _directory(root_dir)
  if not os.path.isdir(directory):
    return []
  return ocp.utils.checkpoint_steps(directory)


def _find_damage(path: str) -> Optional[str]:
  """Returns what is wrong with a checkpoint, or None; see `checksums`."""
  if os.path.exists(os.path.join(path, checksums.NAME)):
    return checksums.find_damage(path)
  try:
    with open(os.path.join(path, _METADATA), encoding='utf-8') as f:
      metadata = json.load(f)
    has_checksums = checksums.NAME in (metadata['custom_metadata'] or ())
  except (OSError, ValueError, LookupError, TypeError) as e:
    return f'{_METADATA} is missing or damaged ({e})'
  return f'{checksums.NAME} is missing' if has_checksums else None


def find_intact(root_dir: str, say: Callable[[str], None]) -> Optional[int]:
  """Returns the step of a run's last intact checkpoint.

  Damaged checkpoints after it are renamed to `damaged-STEP`. A checkpoint
  without checksums, of version 0.2 or earlier, is taken for intact.

  Args:
    root_dir: the run's directory.
    say: prints a line, for each damaged checkpoint and for missing checksums.

  Returns:
    The gradient step; None if the run has no checkpoint.

  Raises:
    ValueError: if all checkpoints are damaged; then none is renamed.
  """
  damaged: Dict[int, str] = {}
  for step in sorted(_steps(root_dir), reverse=True):
    path = os.path.join(_directory(root_dir), str(step))
    what = _find_damage(path)
    if what is None:
      break
    damaged[step] = what
  else:
    if not damaged:
      return None
    raise ValueError(
        f'All checkpoints in {_directory(root_dir)} are damaged: ' + '; '.join(
            f'in {step}, {what}' for step, what in damaged.items()) +
        '. Put back a copy of one; or, to train again from the first step, '
        'choose another root_dir.')
  for other, what in damaged.items():
    kept = atomic_files.set_aside(
        os.path.join(_directory(root_dir), str(other)))
    say(f'The checkpoint of gradient step {other:,} is damaged: {what}. It is '
        f'kept as {kept}, and that of step {step:,} is used.')
  if not os.path.exists(os.path.join(path, checksums.NAME)):
    say(f'{path} was written without checksums, so damage in it cannot be '
        'excluded.')
  return step


def restore_variables(root_dir: str,
                      like: Mapping[str, Any]) -> Mapping[str, Any]:
  """Restores fields of a run's saved training state, without a learner.

  Args:
    root_dir: the run's directory, an absolute path.
    like: the fields' structures and shapes by name, for example
      `{'policy_params': jax.eval_shape(policy.init, key)}`.

  Returns:
    NumPy arrays from the last checkpoint, structured like `like`.

  Raises:
    ValueError: if there is no checkpoint, if it is damaged, or if arrays are
      missing or have other shapes.
  """
  step = latest_step(root_dir)
  if step is None:
    raise ValueError(f'{_directory(root_dir)} holds no complete checkpoint: '
                     'train the run until its first one.')
  path = os.path.join(_directory(root_dir), str(step))
  if (what := _find_damage(path)) is not None:
    raise ValueError(
        f'The checkpoint {path} is damaged: {what}. Put back a copy of it; or '
        f'rename it to damaged-{step} and launch the run again, which trains '
        'from the checkpoint before it.')

  def check(key, wanted, array):
    # Orbax leaves missing arrays as they are in `like`, and ignores shapes.
    if not isinstance(array, np.ndarray) or array.shape != wanted.shape:
      raise ValueError(f'{jax.tree_util.keystr(key)} of shape {wanted.shape} '
                       'is missing.')

  path = os.path.join(path, 'learner')
  try:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
      # To NumPy, because the devices it was saved from may not exist here.
      to_host = jax.tree_util.tree_map(
          lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
      found = checkpointer.restore(path, args=ocp.args.PyTreeRestore(
          like, restore_args=to_host, partial_restore=True))
    jax.tree_util.tree_map_with_path(check, like, found)
  except (TypeError, ValueError) as e:
    raise ValueError(f'{path} does not hold what these networks need: {e} Was '
                     'the run made with other networks?') from e
  return found


class _Checked(ocp.path.atomicity.AtomicRenameTemporaryPath):
  """Adds checksums to a complete checkpoint, before Orbax renames it."""

  async def finalize(self) -> None:
    # Orbax would add the time to a file whose checksum is known by then.
    self._checkpoint_metadata_store = None
    checksums.write(str(self.get()))
    await super().finalize()


class CheckpointManager:
  """Saves learner and counter together, under one gradient step.

  Both are written by one process into one directory, so they always agree.
  Orbax writes to a temporary name and renames it once complete, so an
  incomplete checkpoint is never read. The last three checkpoints are kept.

  A learner may be spread over several hosts, which then call these methods at
  the same time. If the learner has a method `global_state` that returns the
  same as `save`, with a global `jax.Array` for everything that is split over
  the devices of all hosts, each host writes and reads its own parts. The shapes
  do not depend on the number of devices, so a run may resume on another number.
  """

  def __init__(self, root_dir: str, step: Optional[int] = None):
    """Initializes it; nothing is written before the first checkpoint.

    Args:
      root_dir: the run's directory, an absolute path.
      step: the gradient step of the checkpoint to restore, or 0 for none; by
        default, the last one.
    """
    self._root_dir = root_dir
    if step is None:
      step = latest_step(root_dir) or 0
    self._step = step  # Of the last checkpoint.

  @functools.cached_property
  def _manager(self) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
        _directory(self._root_dir),
        options=ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False,
            cleanup_tmp_directories=True, temporary_path_class=_Checked,
            # Damaged checkpoints that are not restored do no harm.
            lightweight_initialize=True,
            # All hosts see the checkpoints that host 0 has found intact.
            single_host_load_and_broadcast=jax.process_count() > 1))

  def save(self, step: int, learner: core.Learner, counter: counting.Counter,
           position: Optional[Mapping[str, int]] = None,
           pending: Optional[Mapping[int, bytes]] = None) -> None:
    """Saves the state of gradient step `step`, unless that is saved already.

    Args:
      step: the gradient step.
      learner: the learner to save.
      counter: the learner's counter.
      position: the position in streamed data; None for resident data.
      pending: weights of earlier steps that are not evaluated yet. Host 0
        decides.
    """
    if step == self._step:
      return
    counts = {k: np.asarray(v).item() for k, v in counter.get_counts().items()}
    weights = {str(step): base64.b64encode(packed).decode()
               for step, packed in (pending or {}).items()}
    items = ocp.args.Composite(
        learner=ocp.args.StandardSave(_state(learner)),
        counter=ocp.args.JsonSave(counts),
        evaluations=ocp.args.JsonSave(weights),
        **({} if position is None else
           {'position': ocp.args.JsonSave(dict(position))}))
    try:
      self._manager.save(
          step, custom_metadata={checksums.NAME: True}, args=items)
    except OSError as e:
      e.filename = e.filename or os.path.join(
          _directory(self._root_dir), str(step))
      raise
    self._step = step

  def _restore_json(self, item: str) -> Any:
    """Returns an item of the checkpoint; None if it is missing."""
    if not os.path.isdir(
        os.path.join(_directory(self._root_dir), str(self._step), item)):
      return None
    return self._manager.restore(self._step, args=ocp.args.Composite(
        **{item: ocp.args.JsonRestore()}))[item]

  def restore_position(self) -> Optional[Mapping[str, int]]:
    """Returns the checkpoint's position in streamed data, if any."""
    return self._restore_json('position')

  def restore_pending(self) -> Dict[int, bytes]:
    """Returns the weights of earlier steps that the checkpoint carries."""
    return {int(step): base64.b64decode(weights) for step, weights in
            (self._restore_json('evaluations') or {}).items()}

  def restore(self, learner: core.Learner, counter: counting.Counter) -> int:
    """Restores the checkpoint, if there is one.

    Args:
      learner: a freshly built learner; its state gives the structure and the
        devices of the arrays.
      counter: the master counter, without a parent.

    Returns:
      The checkpoint's gradient step; 0 if there is none.

    Raises:
      ValueError: if the checkpoint does not hold a state of this learner, or
        the counts of its step.
    """
    if not self._step:
      return 0
    path = os.path.join(_directory(self._root_dir), str(self._step))
    try:
      saved = self._manager.restore(self._step, args=ocp.args.Composite(
          learner=ocp.args.StandardRestore(_state(learner)),
          counter=ocp.args.JsonRestore()))
    except (KeyError, OSError, TypeError, ValueError) as e:
      raise ValueError(
          f'{path} does not hold a state of this learner: {e} If the learner '
          'is that of the run, the checkpoint is damaged: move it away to '
          'resume from the one before.') from e
    found = saved.counter.get('learner_steps', self._step)
    if found != self._step:
      raise ValueError(
          f'{path}/counter counts {found} gradient steps: it is damaged. Move '
          f'{path} away to resume from the checkpoint before it.')
    learner.restore(saved.learner)
    counter.restore({'counts': saved.counter, 'cache': {}})
    return self._step

  def close(self) -> None:
    self._manager.close()


def _state(learner: core.Learner) -> Any:
  """Returns a learner's state as arrays; Orbax takes no NumPy scalars."""
  state = (learner.global_state() if hasattr(learner, 'global_state')
           else learner.save())
  return jax.tree_util.tree_map(
      lambda x: x if isinstance(x, jax.Array) else np.asarray(x), state)
