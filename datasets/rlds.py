"""Reads and writes datasets on disk in RLDS form, through TFDS.

An RLDS dataset is a TFDS dataset of episodes, each a nested dataset of steps.
`tfds.builder_from_directory` reads what `write` has written, and `RldsSource`
reads what TFDS's builders have written. Neither prepares a TFDS dataset, which
would search the network.
"""

import itertools
import os
from typing import Any, Iterable, Iterator, List, Mapping, Sequence

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_parser
from tensorflow_datasets.core import example_serializer

from . import episodes as episodes_lib
from . import steps as steps_lib
from . import tfds_files
from . import value_checks
from .. import atomic_files

_SPLIT = 'train'
_STEPS_PER_FILE = 200_000
_FILE_NAME = 'acme_msg-{split}.tfrecord-{index:05d}-of-{number:05d}'


def write(blocks: Iterable[steps_lib.Steps], path: str):
  """Writes steps as an RLDS dataset of one split, 'train'.

  The dataset appears only when it is complete, see `atomic_files.create`.

  Args:
    blocks: consecutive steps; episodes begin where `is_first` is set and may
      continue in the next block. One episode must fit in memory.
    path: a directory that does not exist.

  Raises:
    FileExistsError: if `path` exists.
    OSError: if the files cannot be written.
    ValueError: if the steps are malformed, or the first one is not the first
      of an episode.
  """
  with atomic_files.create(path, directory=True) as folder:
    try:
      _write_files(path, blocks, folder)
    except tf.errors.OpError as error:
      raise OSError(f'{path}: {error.message}') from error


def _episodes_of(
    path: str, blocks: Iterable[steps_lib.Steps],
) -> Iterator[steps_lib.Steps]:
  """Cuts blocks of steps into whole episodes."""
  # Parts of the episode that continues in the next block.
  open_parts: List[steps_lib.Steps] = []
  for steps in blocks:
    value_checks.check_layout(path, steps._asdict(), steps_lib.LAYOUT)
    if not open_parts and not steps.is_first[0]:
      raise ValueError(
          f'{path}: the first step to write is not the first of an episode '
          '(is_first); an RLDS dataset consists of episodes.')
    bounds = [0, *np.flatnonzero(steps.is_first), len(steps.reward)]
    for first, stop in itertools.pairwise(bounds):
      if open_parts and steps.is_first[first]:
        yield steps_lib.concatenate(open_parts)
        open_parts = []
      if first < stop:
        open_parts.append(steps.rows(slice(first, stop)))
  yield steps_lib.concatenate(open_parts)


def _write_files(path: str, blocks: Iterable[steps_lib.Steps], folder: str):
  """Writes the files of a dataset and TFDS's description of them."""
  writer, serializer, features = None, None, None
  shard_lengths: List[int] = []
  rows = _STEPS_PER_FILE
  part = os.path.join(folder, 'part-{:05d}')
  for episode in _episodes_of(path, blocks):
    if serializer is None:
      features = tfds.features.FeaturesDict({'steps': tfds.features.Dataset({
          name: tfds.features.Tensor(shape=column.shape[1:], dtype=column.dtype)
          for name, column in episode._asdict().items()})})
      # TFDS's own encoding goes step by step and takes ten times as long; plain
      # numbers do not need it.
      serializer = example_serializer.ExampleSerializer(
          features.get_serialized_info())
    if rows >= _STEPS_PER_FILE:
      if writer is not None:
        writer.close()
      writer = tf.io.TFRecordWriter(part.format(len(shard_lengths)))
      shard_lengths.append(0)
      rows = 0
    writer.write(serializer.serialize_example({'steps': episode._asdict()}))
    shard_lengths[-1] += 1
    rows += len(episode.reward)
  writer.close()
  size = sum(entry.stat().st_size for entry in os.scandir(folder))
  for index in range(len(shard_lengths)):
    os.rename(part.format(index), os.path.join(folder, _FILE_NAME.format(
        split=_SPLIT, index=index, number=len(shard_lengths))))
  tfds.folder_dataset.write_metadata(
      data_dir=folder, features=features, check_data=False,
      description='Offline reinforcement learning episodes, in RLDS form.',
      split_infos=[tfds.core.SplitInfo(
          name=_SPLIT, shard_lengths=shard_lengths, num_bytes=size)])


class RldsSource(steps_lib.Source):
  """An RLDS dataset: the directory that contains `dataset_info.json`.

  The split 'train' is read, or the only split. Each record is an episode, and
  its last step is `is_last` even if the flag is not set. Nested observations
  and actions are flattened in the order of `episodes.leaves`. Only the fields
  of `Steps` are read.
  """
  kind = 'rlds'

  def blocks(self, num_rows: int = 100_000) -> Iterator[steps_lib.Steps]:
    """See the base class. Blocks consist of whole episodes."""
    groups = episodes_lib.group(_read_episodes(self.name), num_rows)
    first, second = next(groups), next(groups, None)
    # Usually the first two truncated episodes decide. All are read only if the
    # dataset has the defect, or fewer than two truncated episodes.
    rest = () if second is None else itertools.islice(
        _read_episodes(self.name), len(first), None)
    read = itertools.chain.from_iterable(
        itertools.chain([first], [second] if second else [], groups))
    if _have_false_ends(itertools.chain(first, rest)):
      logging.warning(
          '%s: all truncated episodes end with the same observation, as TFDS '
          'writes D4RL\'s Gym-MuJoCo tasks by mistake; it is left out.',
          self.name)
      read = map(_without_false_end, read)
    del first, second, rest
    yield from episodes_lib.blocks(self.name, read, num_rows)


def _have_false_ends(episodes: Iterable[episodes_lib.Episode]) -> bool:
  """Whether the data has a defect of TFDS's builders of D4RL's Gym-MuJoCo.

  The builders of v1 and v2 append the last next observation of the whole file
  to every episode. The data has the defect if at least two episodes were
  truncated and all of these end with the same observation. (The observation
  after a terminal step is not used.)
  """
  ends = (episode['observation'][-1] for episode in episodes
          if not episode['is_terminal'][-1])
  first, second = next(ends, None), next(ends, None)
  return second is not None and all(
      np.array_equal(end, first) for end in itertools.chain([second], ends))


def _without_false_end(episode: episodes_lib.Episode) -> episodes_lib.Episode:
  """Removes the false last step of a truncated episode."""
  # An episode of one step has no true last step.
  if episode['is_terminal'][-1] or len(episode['reward']) == 1:
    return episode
  return {name: column[:-1] for name, column in episode.items()}


def _read_episodes(path: str) -> Iterator[episodes_lib.Episode]:
  """Reads the records of a dataset after checking its layout."""
  specs, files, expected = tfds_files.describe(path)
  value_checks.check_present(
      path, [f'steps/{name}' for name in steps_lib.LAYOUT],
      [f'steps/{name}' for name in specs], 'RLDS')
  specs = {name: specs[name] for name in steps_lib.LAYOUT}
  for name, kind in steps_lib.LAYOUT.items():
    _check_specs(path, f'steps/{name}', specs[name], kind)
  number = 0
  for steps in _parse(path, specs, files):
    place = f'{path}: episode {number}'
    episode = {
        name: episodes_lib.flatten(place, f'steps/{name}', steps[name])
        if kind == value_checks.VECTOR else steps[name].reshape(-1)
        for name, kind in steps_lib.LAYOUT.items()}
    value_checks.check_layout(place, episode, steps_lib.LAYOUT)
    is_first = episode.pop('is_first')
    episode['is_last'] = episode['is_last'] != 0
    episode['is_last'][:-1] |= is_first[1:] != 0
    number += 1
    yield episode
  if not number or number != expected:
    raise ValueError(
        f'{path}: the dataset is damaged or incomplete, it holds {number} of '
        f'{expected} episodes; make or copy it again.')


def _parse(
    path: str, specs: Mapping[str, Any], files: Sequence[str],
) -> Iterator[Mapping[str, Any]]:
  """Yields the fields of the steps of each record."""
  try:
    # Parses a record at once. TFDS's own reader goes step by step and takes
    # twenty times as long.
    parser = example_parser.ExampleParser({'steps': specs})
    for example in (
        tf.data.TFRecordDataset(files)
        .map(parser.parse_example, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(8).as_numpy_iterator()):
      yield example['steps']
  except Exception as error:  # TensorFlow raises many types.
    reason = getattr(error, 'message', error)
    raise ValueError(
        f'{path}: the dataset is damaged or incomplete ({reason}); make or '
        'copy it again.') from error


def _check_specs(path: str, name: str, specs: Any, kind: str):
  """Checks shapes and types of a field of steps, which may be nested."""
  for leaf, spec in episodes_lib.leaves(name, specs):
    value_checks.check_numbers(
        path, leaf, spec.shape, np.dtype(spec.tf_dtype.as_numpy_dtype))
    if spec.shape[0] is not None:
      raise ValueError(
          f'{path}: field {leaf!r} has the shape {spec.shape} without steps; '
          '\'steps\' must be a tfds.features.Dataset.')
    if None in spec.shape[1:]:
      raise ValueError(
          f'{path}: field {leaf!r} has the shape {spec.shape} (steps first), '
          'which varies; vectors of one size are needed.')
    if kind != value_checks.VECTOR and (
        leaf != name or spec.shape[1:] not in ((), (1,))):
      raise ValueError(
          f'{path}: field {leaf!r} has the shape {spec.shape} (steps first); '
          'expected a scalar per step.')
