"""Lets all processes of the suite share their compiled programs.

Environment variables reach the side-by-side workers of pytest and the programs
that tests start. Equal programs are compiled once, in this run and in later
ones; they are traced each time, and their results are bit-equal.
"""

import os
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[1]

# JAX reads these when it is imported, which must come later.
for _name, _value in {
    'JAX_COMPILATION_CACHE_DIR': str(_ROOT / '.pytest_cache' / 'jax'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
}.items():
  os.environ.setdefault(_name, _value)
