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
    ValueError: if there is no checkpoint, or if it holds other arrays.
  """
  step = latest_step(root_dir)
  if step is None:
    raise ValueError(f'{_directory(root_dir)} holds no complete checkpoint: '
                     'train the run until its first one.')

  def check(key, wanted, array):
    # Orbax passes on what it does not find, and takes any shape it finds.
    if not isinstance(array, np.ndarray) or array.shape != wanted.shape:
      raise ValueError(f'{jax.tree_util.keystr(key)} of shape {wanted.shape} '
                       'is missing.')

  path = os.path.join(_directory(root_dir), str(step), 'learner')
  try:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
      # Whatever devices it was saved from.
      to_host = jax.tree_util.tree_map(
          lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
      found = checkpointer.restore(path, args=ocp.args.PyTreeRestore(
          like, restore_args=to_host, partial_restore=True))
    jax.tree_util.tree_map_with_path(check, like, found)
  except (TypeError, ValueError) as e:
    raise ValueError(f'{path} does not hold what these networks need: {e} Is '
                     'the run one of other networks?') from e
  return found


class CheckpointManager:
  """Saves learner and counter at one moment, under one gradient step.

  One process and one directory hold both, so that they cannot disagree, as
  they can where two nodes save at different moments. Orbax writes to a
  temporary name and renames it once complete: a checkpoint that was cut short
  is never seen. The last three are kept.

  A learner may be spread over several hosts, all of which then call these
  methods at the same time. If it has a method `global_state` that returns what
  `save` does, with `jax.Array`s for what is split over the devices of all
  hosts, each host writes and reads the parts that it holds. Their shapes are
  those of any number of devices, so that another number may go on.
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
      learner: its state.
      counter: its counts.
      position: where streamed data goes on.
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
      learner: a freshly built learner, whose state gives the structure, and
        the places of arrays.
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
