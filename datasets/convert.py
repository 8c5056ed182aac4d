"""Converts a dataset between D4RL's HDF5 layout and RLDS, either way.

  python -m acme_msg.datasets.convert SRC DST

SRC is an HDF5 file, and DST becomes an RLDS directory, or the other way round.
The transitions stay the same; DST must not exist.
"""

import os
from typing import Optional, Sequence

from absl import app
from absl import flags

from . import d4rl
from . import rlds

_EPISODE_LIMIT = flags.DEFINE_integer(
    'episode_limit', None,
    'Steps after which episodes were cut off, for an HDF5 file without the '
    'field timeouts.', lower_bound=1)


def convert(source: str, target: str, episode_limit: Optional[int] = None):
  """Converts a file to a directory, or a directory to a file.

  Args:
    source: an HDF5 file in D4RL's layout, or an RLDS directory.
    target: of what is to be made.
    episode_limit: in steps, for HDF5 files without `timeouts`.

  Raises:
    FileExistsError: if there is something at `target`.
    FileNotFoundError: if there is nothing at `source`.
    ValueError: if the source is not valid.
  """
  if os.path.lexists(target):
    raise FileExistsError(
        f'{target} exists, and nothing is overwritten; name another one, or '
        'move it away.')
  if os.path.isdir(source):
    d4rl.write(rlds.load_steps(source), target)
  else:
    rlds.write(d4rl.load_steps(source, source, episode_limit), target)


def main(argv: Sequence[str]):
  if len(argv) != 3:
    raise app.UsageError('Name the source and the target: SRC DST.')
  try:
    convert(argv[1], argv[2], _EPISODE_LIMIT.value)
  except (OSError, ValueError) as error:
    raise SystemExit(f'Nothing was converted: {error}') from error


if __name__ == '__main__':
  app.run(main)
