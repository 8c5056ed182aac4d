"""Finds the files of a dataset that TFDS has prepared, after checking them.

TFDS imports the modules that `features.json` names, and TensorFlow allocates
the bytes that a record claims to have; both are checked here before.
"""

import contextlib
import json
import os
from typing import Any, Iterator, Mapping, Sequence

import tensorflow_datasets as tfds

from . import file_checks

_SPLIT = 'train'
_INFO, _FEATURES = 'dataset_info.json', 'features.json'
# The keys of names of classes, in the forms that TFDS reads.
_CLASS_KEYS = ('pythonClassName', 'python_class_name', 'type')
# Bytes before and after a record: its length, and two checksums.
_LENGTH, _AROUND = 8, 16


def describe(path: str) -> tuple[Mapping[str, Any], Sequence[str], int]:
  """Describes the split 'train' of a dataset, or the only split.

  Args:
    path: the directory of a version.

  Returns:
    The specifications of the fields of steps, nested; the split's files; and
    its number of episodes.

  Raises:
    FileNotFoundError: if there is no such directory.
    ValueError: if it holds no whole dataset, or one in another format.
  """
  if not os.path.isdir(path):
    raise FileNotFoundError(
        f'{path}: there is no such dataset directory; check --dataset.')
  info = _read(path, _INFO)
  _check_features(
      os.path.join(path, _FEATURES), _read(path, _FEATURES))
  stored = info.get('fileFormat', info.get('file_format')) or 'tfrecord'
  if stored != 'tfrecord':
    raise ValueError(
        f'{path}: the format {stored!r} of TFDS is not supported, TFRecord is. '
        'Prepare it again by tfds.builder(NAME, file_format=\'tfrecord\')'
        '.download_and_prepare(), or convert the files as in '
        'datasets/README.md.')
  try:
    found = tfds.builder_from_directory(path).info
    splits = list(found.splits)
    name = _SPLIT if _SPLIT in splits else splits[0] if splits else ''
    specs = found.features.get_serialized_info().get('steps', {})
    split = found.splits[name] if name else None
    files = [str(file) for file in split.filepaths] if split else []
    number = split.num_examples if split else 0
    if not isinstance(specs, Mapping):
      raise ValueError('\'steps\' has no fields')
  except Exception as error:  # TFDS raises many types.
    raise ValueError(
        f'{path}: TFDS cannot read {_INFO} and {_FEATURES} ({error}); download '
        'or make the dataset again.') from error
  if _SPLIT not in splits and len(splits) != 1:
    raise ValueError(
        f'{path}: there is no split {_SPLIT!r}, found '
        f'{", ".join(splits) or "none"}.')
  for file in files:
    if os.path.dirname(os.path.abspath(file)) != os.path.abspath(path):
      raise ValueError(
          f'{path}: {_INFO} names {file}, which lies elsewhere; the files must '
          'be in the same directory.')
    _check_records(path, file)
  return specs, files, number


def _read(path: str, name: str) -> Mapping[str, Any]:
  try:
    return file_checks.read_json(os.path.join(path, name))
  except FileNotFoundError as error:
    raise ValueError(
        f'{path}: not a TFDS dataset, {name} is missing; name the directory '
        'that holds it, usually one named by a version such as 1.0.0.'
    ) from error


def _check_features(file: str, description: Any):
  """Checks that all classes in a description are TFDS's own."""
  known = {
      f'{cls.__module__}.{cls.__name__}' for cls in vars(tfds.features).values()
      if isinstance(cls, type)}
  for cls in vars(tfds.features).values():
    known.update(getattr(cls, 'ALIASES', ()))
  try:
    names = list(_class_names(description))
  except RecursionError as error:
    raise ValueError(
        f'{file}: the description is nested too deep; download or make the '
        'dataset again.') from error
  for name in names:
    if name not in known:
      raise ValueError(
          f'{file}: the feature {name!r} is not one of TFDS '
          f'{tfds.__version__}, and TFDS would import it as code. Only TFDS\'s '
          'own features are read; make the dataset again with these.')


def _class_names(description: Any) -> Iterator[str]:
  """Yields all names of classes in a description, also in JSON within it."""
  pending = [description]
  while pending:
    node = pending.pop()
    if isinstance(node, str):  # TFDS parses some strings again.
      with contextlib.suppress(ValueError):
        pending.append(json.loads(node))
    elif isinstance(node, list):
      pending.extend(node)
    elif isinstance(node, dict):
      pending.extend(node.values())
      for key in _CLASS_KEYS:
        if isinstance(node.get(key), str):
          yield node[key]


def _check_records(path: str, file: str):
  """Checks that the records of a TFRecord file end with it."""
  try:
    file_checks.check_file(file)
  except FileNotFoundError as error:
    raise ValueError(
        f'{path}: the file {os.path.basename(file)} is missing; copy the whole '
        'dataset again.') from error
  size = os.path.getsize(file)
  with open(file, 'rb', buffering=0) as records:
    start = number = 0
    while start < size:
      header = os.pread(records.fileno(), _LENGTH, start)
      length = int.from_bytes(header, 'little')
      if start + _AROUND + length > size:
        raise ValueError(
            f'{file}: damaged or incomplete: record {number} claims '
            f'{length:,} bytes at {start:,}, but the file has {size:,}; copy '
            'it again.')
      start += _AROUND + length
      number += 1
