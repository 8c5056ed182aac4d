"""What identifies a dataset, so that a run goes on with the same data only.

The digest is made of the names of a dataset's files, relative to its directory,
their exact sizes, and blocks of 64 KiB of their contents. The blocks begin at
the start of each file and then at equal distances, which depend on the size of
the dataset: about 512 blocks in all, so that the digest costs the same for
every size. Datasets of up to 32 MiB are read whole. In a larger one, a change
of some bytes between two blocks is not noticed if no size changes; one of
8 GiB has a block every 16 MiB.

Times and the place of the dataset are not part of the digest: a copy has the
same one.
"""

import hashlib
import os
from typing import Any, Dict

from . import d4rl_tasks
from . import file_checks
from . import minari_data
from . import sources
from . import steps as steps_lib

_BLOCK = 2**16
_NUM_BLOCKS = 512
# Begins each digest. Change it with the way that digests are made.
_METHOD = 'blocks'


def identify(source: steps_lib.Source) -> Dict[str, Any]:
  """Returns what identifies a source's data, as plain JSON values.

  Args:
    source: from `sources.find`.

  Returns:
    `kind` and `name`; for files also `path`, `size_bytes`, `digest`, and what
    else decides the data that is read from them.

  Raises:
    OSError: if a file cannot be read.
    ValueError: if one is no regular file, such as a FIFO.
  """
  if source.kind == 'episodes' or not os.path.exists(source.name):
    return {'kind': source.kind, 'name': source.name}
  files = _files(source.name)
  for path in files.values():
    file_checks.check_file(path, may_be_empty=True)
  sizes = {name: os.path.getsize(path) for name, path in files.items()}
  return {
      'kind': source.kind, 'name': _name(source), 'path': source.name,
      'size_bytes': sum(sizes.values()), 'digest': _digest(files, sizes),
      **source.options}


def _files(path: str) -> Dict[str, str]:
  """Returns the paths of a dataset's files, by their names in the dataset.

  In a directory, hidden files are no part of the dataset.
  """
  if not os.path.isdir(path):
    return {'': path}
  files = {}
  for folder, _, names in os.walk(path):
    for name in names:
      file = os.path.join(folder, name)
      if not name.startswith('.'):
        files[os.path.relpath(file, path)] = file
  return dict(sorted(files.items()))


def _digest(files: Dict[str, str], sizes: Dict[str, int]) -> str:
  blocks = -(-sum(sizes.values()) // _BLOCK)
  stride = _BLOCK * max(1, -(-blocks // _NUM_BLOCKS))
  found = hashlib.sha256()
  for name, path in files.items():
    found.update(f'{len(name)} {name} {sizes[name]} '.encode())
    with open(path, 'rb', buffering=0) as file:
      for start in range(0, sizes[name], stride):
        file.seek(start)
        found.update(file.read(_BLOCK))
  return f'{_METHOD}:{found.hexdigest()[:32]}'


def _name(source: steps_lib.Source) -> str:
  """Returns the name that a dataset's library gives it, as its path tells."""
  path = os.path.abspath(source.name)
  if source.kind == 'd4rl':
    file = os.path.basename(path)
    return ' or '.join(
        task for task, its_file in d4rl_tasks.FILES.items()
        if os.path.basename(its_file) == file) or file
  if source.kind == 'minari':
    folder = os.path.dirname(path).removesuffix(os.sep + 'data')
    return _below(minari_data.root(), folder)
  if source.kind == 'rlds':
    folder, version = os.path.split(path)
    if sources.VERSION.fullmatch(version):
      return f'{_below(sources.tfds_root(), folder)}:{version}'
  return os.path.basename(path)


def _below(root: str, path: str) -> str:
  """Returns a path relative to a root, or its last part if it is elsewhere."""
  root = os.path.join(os.path.abspath(root), '')
  return path[len(root):] if path.startswith(root) else os.path.basename(path)
