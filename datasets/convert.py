"""Converts a dataset of any kind to RLDS or to D4RL's HDF5 layout.

  python -m acme_msg.datasets.convert SRC DST

SRC is any name that `--dataset` accepts, see `sources.find`. DST must not
exist. If its name ends with .hdf5 it becomes a file, else the directory of an
RLDS dataset. The transitions stay the same. Memory holds a block of steps and,
for RLDS, an episode.
"""

import contextlib
from typing import Sequence

from absl import app

from . import d4rl
from . import source_flags
from . import steps as steps_lib
from .. import atomic_files
from .. import command_help


def convert(source: steps_lib.Source, target: str) -> None:
  """Writes a dataset to a new file '.hdf5', or a new directory for RLDS.

  Raises:
    FileExistsError: if `target` exists.
    FileNotFoundError: if there is no such dataset.
    ValueError: if the dataset is not valid, or does not fit the layout.
  """
  atomic_files.check_free(target)  # Before anything is imported or read.
  if target.endswith('.hdf5'):
    write = d4rl.write
  else:
    # Imported here because importing TensorFlow takes seconds.
    from . import rlds  # pylint: disable=g-import-not-at-top
    write = rlds.write
  # Closed, so that an error comes after the last of the progress bar.
  with contextlib.closing(source_flags.read(source, 'converting')) as blocks:
    write(blocks, target)


def main(argv: Sequence[str]) -> None:
  if len(argv) != 3:
    raise app.UsageError('Name the source and the target: SRC DST.')
  try:
    convert(source_flags.find(argv[1]), argv[2])
  except (OSError, ValueError) as error:
    raise SystemExit(f'Nothing was converted: {error}') from error


if __name__ == '__main__':
  # Defined here because importing programs have flags of the same names.
  command_help.run(main, {'Source': source_flags.define()})
