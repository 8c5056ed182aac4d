"""Checkpoints of the learner and its counter, written together by Orbax."""

import os
from typing import Any, Mapping, Optional

from acme import core
from acme.utils import counting
import jax
import numpy as np
from orbax import checkpoint as ocp

_KEEP = 3


def _directory(root_dir: str) -> str:
  return os.path.join(root_dir, 'checkpoints')


def latest_step(root_dir: str) -> Optional[int]:
  """Returns the gradient step of a run's last complete checkpoint, or None."""
  directory = _directory(root_dir)
  if not os.path.isdir(directory):
    return None
  return max(ocp.utils.checkpoint_steps(directory), default=None)


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
    ValueError: if there is no checkpoint, or if arrays are missing or have
      other shapes.
  """
  step = latest_step(root_dir)
  if step is None:
    raise ValueError(f'{_directory(root_dir)} holds no complete checkpoint: '
                     'train the run until its first one.')

  def check(key, wanted, array):
    # Orbax leaves missing arrays as they are in `like`, and ignores shapes.
    if not isinstance(array, np.ndarray) or array.shape != wanted.shape:
      raise ValueError(f'{jax.tree_util.keystr(key)} of shape {wanted.shape} '
                       'is missing.')

  path = os.path.join(_directory(root_dir), str(step), 'learner')
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

  def __init__(self, root_dir: str):
    """Opens `root_dir/checkpoints`, made if missing.

    Args:
      root_dir: the run's directory, an absolute path.
    """
    self._manager = ocp.CheckpointManager(
        _directory(root_dir),
        options=ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False,
            cleanup_tmp_directories=True))

  def save(self, step: int, learner: core.Learner, counter: counting.Counter,
           position: Optional[Mapping[str, int]] = None) -> None:
    """Saves the state of gradient step `step`, unless that is saved already.

    Args:
      step: the gradient step.
      learner: the learner to save.
      counter: the learner's counter.
      position: the position in streamed data; None for resident data.
    """
    if step in self._manager.all_steps():
      return
    counts = {k: np.asarray(v).item() for k, v in counter.get_counts().items()}
    self._manager.save(step, args=ocp.args.Composite(
        learner=ocp.args.StandardSave(_state(learner)),
        counter=ocp.args.JsonSave(counts),
        **({} if position is None else
           {'position': ocp.args.JsonSave(dict(position))})))

  def restore_position(self) -> Optional[Mapping[str, int]]:
    """Returns the last checkpoint's position in streamed data, if any."""
    step = self._manager.latest_step()
    if step is None or 'position' not in self._manager.item_metadata(step):
      return None
    return self._manager.restore(step, args=ocp.args.Composite(
        position=ocp.args.JsonRestore())).position

  def restore(self, learner: core.Learner, counter: counting.Counter) -> int:
    """Restores the last checkpoint, if any.

    Args:
      learner: a freshly built learner; its state gives the structure and the
        devices of the arrays.
      counter: the master counter, without a parent.

    Returns:
      The checkpoint's gradient step; 0 if there is none.
    """
    step = self._manager.latest_step()
    if step is None:
      return 0
    saved = self._manager.restore(step, args=ocp.args.Composite(
        learner=ocp.args.StandardRestore(_state(learner)),
        counter=ocp.args.JsonRestore()))
    learner.restore(saved.learner)
    counter.restore({'counts': saved.counter, 'cache': {}})
    return step

  def close(self) -> None:
    self._manager.close()


def _state(learner: core.Learner) -> Any:
  """Returns a learner's state as arrays; Orbax takes no NumPy scalars."""
  state = (learner.global_state() if hasattr(learner, 'global_state')
           else learner.save())
  return jax.tree_util.tree_map(
      lambda x: x if isinstance(x, jax.Array) else np.asarray(x), state)
