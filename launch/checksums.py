"""SHA-256 digests of all files of a folder, in the format of `sha256sum`."""

import hashlib
import os
from typing import List, Optional

from .. import atomic_files

NAME = 'SHA256SUMS'
_BLOCK = 2**20


def _files(folder: str) -> List[str]:
  """Returns the relative paths of all files, without `NAME` and hidden ones."""
  paths = [
      os.path.relpath(os.path.join(parent, name), folder)
      for parent, _, names in os.walk(folder) for name in names]
  return sorted(path for path in paths
                if path != NAME and not os.path.basename(path).startswith('.'))


def _digest(path: str) -> str:
  digest = hashlib.sha256()
  with open(path, 'rb') as f:
    while block := f.read(_BLOCK):
      digest.update(block)
  return digest.hexdigest()


def write(folder: str) -> None:
  """Writes `NAME`, which holds the digest of each file.

  Args:
    folder: a complete folder; its files do not change from now on.
  """
  with atomic_files.replace(os.path.join(folder, NAME)) as f:
    for path in _files(folder):
      f.write(f'{_digest(os.path.join(folder, path))}  {path}\n')


def find_damage(folder: str) -> Optional[str]:
  """Returns the first file that is not as it was written, and what it is.

  Args:
    folder: a folder with the file `NAME`.

  Returns:
    A clause such as 'counter/metadata is missing'; None if all is well.
  """
  try:
    with open(os.path.join(folder, NAME), encoding='utf-8') as f:
      rows = [line.rstrip('\n').split('  ', 1) for line in f]
    digests = {path: digest for digest, path in rows}
  except (OSError, ValueError) as e:
    return f'{NAME} is not readable ({e})'
  found = _files(folder)
  for path in sorted({*digests, *found}):
    if path not in found:
      return f'{path} is missing'
    if path not in digests:
      return f'{path} is not in {NAME}'
    try:
      if _digest(os.path.join(folder, path)) != digests[path]:
        return f'{path} does not hold what was written (SHA-256)'
    except OSError as e:
      return f'{path} is not readable ({e.strerror})'
  return None
