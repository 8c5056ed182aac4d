"""Reads and writes datasets on disk in RLDS form, through TFDS.

An RLDS dataset is a TFDS dataset of episodes, each a nested dataset of steps.
What is written here is read by `tfds.builder_from_directory` without our code,
and what TFDS's own builders have written is read here. Neither way asks TFDS to
prepare anything, so it never looks for a copy on the network.
"""

import os
import shutil
import tempfile

from absl import logging
from acme import types
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_parser
from tensorflow_datasets.core import example_serializer

from . import rewards
from . import steps as steps_lib
from . import validation

_SPLIT = 'train'
_STEPS_PER_FILE = 200_000
_FILE_NAME = 'acme_msg-{split}.tfrecord-{index:05d}-of-{number:05d}'
_FLAGS = ('is_first', 'is_last', 'is_terminal')


def write(steps: steps_lib.Steps, path: str):
  """Writes steps as an RLDS dataset of one split, 'train'.

  It is written under a temporary name beside `path` and then renamed, so a
  dataset at `path` is always a whole one.

  Args:
    steps: T steps; episodes begin where `is_first` is set.
    path: of a directory that does not exist yet.

  Raises:
    FileExistsError: if something is at `path`.
    ValueError: if the steps are malformed or do not begin with the first one
      of an episode.
  """
  if os.path.lexists(path):
    raise FileExistsError(
        f'{path} exists, and nothing is overwritten; name another directory, '
        'or move this one away.')
  validation.check_layout(path, steps._asdict(), steps_lib.RANKS)
  if not steps.is_first[0]:
    raise ValueError(
        f'{path}: the first step to be written is not the first of an episode '
        '(is_first); an RLDS dataset consists of episodes.')
  parent, name = os.path.split(os.path.abspath(path))
  os.makedirs(parent, exist_ok=True)
  temporary = tempfile.mkdtemp(prefix=f'.{name}.', dir=parent)
  try:
    _write_files(steps, temporary)
    os.chmod(temporary, 0o755)  # mkdtemp makes it private.
    os.rename(temporary, path)
  except BaseException:
    shutil.rmtree(temporary)
    raise


def _write_files(steps: steps_lib.Steps, folder: str):
  """Writes the files of a dataset, and TFDS's description of them."""
  features = tfds.features.FeaturesDict({
      'steps': tfds.features.Dataset({
          name: tfds.features.Tensor(shape=column.shape[1:], dtype=column.dtype)
          for name, column in steps._asdict().items()})})
  # TFDS's own encoding goes step by step and takes ten times as long; plain
  # numbers need none.
  serializer = example_serializer.ExampleSerializer(
      features.get_serialized_info())
  start = np.flatnonzero(steps.is_first)
  stop = np.append(start[1:], len(steps.is_first))
  number = -(-len(steps.is_first) // _STEPS_PER_FILE)
  shards = [s for s in np.array_split(np.arange(len(start)), number) if s.size]
  size = 0
  for index, episodes in enumerate(shards):
    file_name = os.path.join(folder, _FILE_NAME.format(
        split=_SPLIT, index=index, number=len(shards)))
    with tf.io.TFRecordWriter(file_name) as writer:
      for i in episodes:
        writer.write(serializer.serialize_example({'steps': {
            name: column[start[i]:stop[i]]
            for name, column in steps._asdict().items()}}))
    size += os.path.getsize(file_name)
  tfds.folder_dataset.write_metadata(
      data_dir=folder, features=features, check_data=False,
      description='Offline reinforcement learning episodes, in RLDS form.',
      split_infos=[tfds.core.SplitInfo(
          name=_SPLIT, shard_lengths=[len(shard) for shard in shards],
          num_bytes=size)])


def load(
    path: str, task_name: str, reward_transform: str = 'auto',
) -> types.Transition:
  """Reads an RLDS dataset as transitions.

  Args:
    path: of the directory that holds `dataset_info.json`.
    task_name: decides the automatic reward transform.
    reward_transform: one of `rewards.NAMES`.

  Returns:
    A transition with the columns `[K, ...]`, float32, and
    `extras={'next_action': [K, A]}`; see `steps.to_transitions`.

  Raises:
    FileNotFoundError: if there is no such dataset.
    ValueError: if it is not valid, or the transform is unknown.
  """
  rewards.resolve(reward_transform, task_name)  # Refuses before reading.
  steps = load_steps(path)
  return steps_lib.to_transitions(steps._replace(
      reward=rewards.transform(steps.reward, reward_transform, task_name)))


def load_steps(path: str) -> steps_lib.Steps:
  """Reads the split 'train' of an RLDS dataset.

  Each record is an episode: its last step counts as `is_last` even if it is not
  marked. Fields other than those of `Steps` are not read.

  Args:
    path: of the directory that holds `dataset_info.json`.

  Returns:
    `[T, ...]` steps, in the order of the files.

  Raises:
    FileNotFoundError: if there is no such dataset.
    ValueError: if it is not valid, naming field, index, what was found and what
      to do.
  """
  episodes = _read_episodes(path)
  columns = {
      name: np.concatenate([episode[name] for episode in episodes])
      for name in steps_lib.RANKS}
  validation.check_layout(path, columns, steps_lib.RANKS)
  for name in steps_lib.RANKS:
    check = validation.to_flags if name in _FLAGS else validation.to_float
    columns[name] = check(path, name, columns[name])
  validation.check_actions(path, 'action', columns['action'])
  validation.warn_of_constant_reward(path, 'reward', columns['reward'])
  stop = np.cumsum([len(episode['reward']) for episode in episodes])
  columns['is_last'][stop - 1] = True
  columns['is_first'][:] = False
  columns['is_first'][np.append(0, stop[:-1])] = True
  bad = np.flatnonzero(columns['is_terminal'] & ~columns['is_last'])
  if bad.size:
    raise ValueError(
        f'{path}: field \'is_terminal\' is set at [{bad[0]}], where '
        '\'is_last\' is not: an episode goes on after its end. Make the '
        'dataset again.')
  return _without_false_ends(path, steps_lib.Steps(**columns))


def _read_episodes(path: str) -> list[dict[str, np.ndarray]]:
  """Reads the records of a dataset, after its layout was checked."""
  if not os.path.isdir(path):
    raise FileNotFoundError(
        f'{path}: there is no such dataset directory; check --dataset_path.')
  try:
    info = tfds.builder_from_directory(path).info
  except (FileNotFoundError, ValueError) as error:
    raise ValueError(
        f'{path}: not a TFDS dataset, dataset_info.json or features.json is '
        'missing; name the directory that holds them, usually one named by a '
        'version such as 1.0.0.') from error
  if _SPLIT not in info.splits:
    raise ValueError(
        f'{path}: there is no split {_SPLIT!r}, found '
        f'{", ".join(info.splits) or "none"}.')
  specs = info.features.get_serialized_info()
  found = specs.get('steps', {})
  missing = [
      name for name in steps_lib.RANKS
      if not hasattr(found.get(name), 'shape')]
  if missing:
    raise ValueError(
        f'{path}: the field \'steps/{missing[0]}\' is missing, or is not an '
        f'array; found {", ".join(found) or "no steps"}. RLDS with flat '
        f'observations has {", ".join(steps_lib.RANKS)}.')
  for name, rank in steps_lib.RANKS.items():
    spec = found[name]
    if len(spec.shape) != rank or not (
        spec.tf_dtype.is_floating or spec.tf_dtype.is_integer or
        spec.tf_dtype.is_bool):
      raise ValueError(
          f'{path}: the field \'steps/{name}\' has the shape {spec.shape} and '
          f'the type {spec.tf_dtype.name} (steps first); expected '
          f'{"vectors" if rank == 2 else "scalars"} of plain numbers.')
  # One record is parsed at once. TFDS's own reading goes step by step, and
  # takes twenty times as long.
  parser = example_parser.ExampleParser(
      {'steps': {name: found[name] for name in steps_lib.RANKS}})
  files = [str(file) for file in info.splits[_SPLIT].filepaths]
  try:
    episodes = [
        example['steps'] for example in tf.data.TFRecordDataset(files)
        .map(parser.parse_example, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(8).as_numpy_iterator()]
  except tf.errors.OpError as error:
    raise ValueError(
        f'{path}: the dataset is damaged or incomplete ({error.message}); make '
        'or copy it again.') from error
  expected = info.splits[_SPLIT].num_examples
  if not episodes or len(episodes) != expected:
    raise ValueError(
        f'{path}: the dataset is damaged or incomplete, it holds '
        f'{len(episodes)} of {expected} episodes; make or copy it again.')
  return episodes


def _without_false_ends(
    path: str, steps: steps_lib.Steps) -> steps_lib.Steps:
  """Corrects a defect of TFDS's builders of D4RL's Gym-MuJoCo v1 and v2.

  They end every episode with a step that shows the last next observation of the
  whole file. Where all episodes that were cut off end alike, that step is taken
  away and the one before it, the true last observation, is the last. (At real
  ends the observation is masked.)
  """
  cut = np.flatnonzero(steps.is_last & ~steps.is_terminal)
  if len(cut) < 2 or not (
      steps.observation[cut] == steps.observation[cut[0]]).all():
    return steps
  # An episode of one step has none before it.
  cut = cut[~steps.is_first[cut]]
  logging.warning(
      '%s: the %d episodes that were cut off all end with the same '
      'observation, as TFDS writes D4RL\'s Gym-MuJoCo tasks by mistake; it is '
      'left out.', path, len(cut))
  steps.is_last[cut - 1] = True
  keep = np.ones(len(steps.is_last), dtype=bool)
  keep[cut] = False
  return steps_lib.Steps(*(column[keep] for column in steps))
