"""Forgets packages that an interrupted installation left incomplete.

Usage: python drop_damaged.py [folder], the interpreter's own site-packages by
default. pip takes a package for installed as soon as its metadata is there,
whatever became of its files. Removing the metadata of incomplete ones makes pip
install them again.
"""

from importlib import metadata
import os
import pathlib
import shutil
import sys
import sysconfig


def is_complete(distribution: metadata.Distribution) -> bool:
  """Whether all was unpacked, and every module is still there.

  Installers write INSTALLER after the last of the package's own files. Sizes do
  not count: some packages bring files of the same name, outside their folders.
  """
  if None in map(distribution.read_text, ('INSTALLER', 'RECORD')):
    return False
  return all(
      os.path.isfile(file.locate()) for file in distribution.files or ()
      if file.suffix != '.pyc')


def main(folder: str) -> None:
  for path in pathlib.Path(folder).glob('*.dist-info'):
    if not is_complete(metadata.Distribution.at(path)):
      print(f'Installing {path.stem} again: some of its files are missing.')
      shutil.rmtree(path)


if __name__ == '__main__':
  main(*sys.argv[1:] or [sysconfig.get_path('purelib')])
