"""Converts a dataset of any kind to RLDS, or to D4RL's HDF5 layout.

  python -m acme_msg.datasets.convert SRC DST

SRC is whatever `--dataset` may name, see `sources.find`. DST becomes a file if
its name ends with .hdf5, and else the directory of an RLDS dataset. It must not
exist. The transitions stay the same. What is kept in memory is a block of steps
and, for RLDS, an episode.
"""

from typing import Sequence

from absl import app
import tqdm

from . import d4rl
from . import inspect
from . import steps as steps_lib
from .. import atomic_files


def convert(source: steps_lib.Source, target: str):
  """Writes a dataset anew.

  Args:
    source: the dataset.
    target: of what is to be made: a file '.hdf5', or a directory.

  Raises:
    FileExistsError: if there is something at `target`.
    FileNotFoundError: if there is nothing at the source.
    ValueError: if the source is not valid, or does not fit the layout.
  """
  atomic_files.check_free(target)  # Before anything is imported or read.
  if target.endswith('.hdf5'):
    write = d4rl.write
  else:
    # Here, since it takes seconds to import TensorFlow.
    from . import rlds  # pylint: disable=g-import-not-at-top
    write = rlds.write
  with tqdm.tqdm(unit=' steps', unit_scale=True, desc='converting') as bar:
    write(inspect.counted(source.blocks(), bar), target)


def main(argv: Sequence[str]):
  if len(argv) != 3:
    raise app.UsageError('Name the source and the target: SRC DST.')
  try:
    convert(inspect.source_of(argv[1]), argv[2])
  except (OSError, ValueError) as error:
    raise SystemExit(f'Nothing was converted: {error}') from error


if __name__ == '__main__':
  # Defined here for the importing programs to have flags of the same names.
  inspect.define_source_flags()
  app.run(main)
