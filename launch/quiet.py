"""Keeps the libraries' start-up messages out of the terminal."""

import contextlib
import importlib
import logging as std_logging
import os
import sys
from typing import Iterator
import warnings

from absl import flags
from absl import logging


def environment() -> dict[str, str]:
  """Returns variables that quiet the libraries from a process's start.

  TensorFlow serves Reverb and TensorBoard here, not the accelerators, so its
  messages about missing GPUs do not help.
  """
  level = os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1')  # JAX sets '1'.
  return {'TF_CPP_MIN_LOG_LEVEL': '2' if level == '1' else level,
          # Otherwise each node that ends has gRPC tell the others about it.
          'GRPC_VERBOSITY': os.environ.get('GRPC_VERBOSITY', 'ERROR'),
          'PYTHONWARNINGS': os.environ.get(
              'PYTHONWARNINGS', 'ignore::DeprecationWarning')}


def _is_not_of_orbax(record: std_logging.LogRecord) -> bool:
  """Leaves out Orbax's log: it raises its errors, too."""
  return f'{os.sep}orbax{os.sep}' not in record.pathname


def quiet_libraries() -> None:
  """Silences deprecations, TensorFlow's logs and Gym's notice in this process.

  Command lines call it before they import the libraries, and the processes of
  nodes before they unpickle their node. Errors and warnings stay visible.
  """
  os.environ.update(environment())
  logging.set_verbosity(logging.WARNING)
  logging.get_absl_logger().addFilter(_is_not_of_orbax)
  # Gym prints its notice, and resets the warnings filters, at its import.
  from gym_notices import notices
  notices.notices.clear()
  importlib.import_module('gym')
  warnings.filterwarnings('ignore', category=DeprecationWarning)


@contextlib.contextmanager
def hidden_stderr() -> Iterator[None]:
  """Hides what C++ code prints to stderr, such as Reverb's server's banner."""
  sys.stderr.flush()
  kept = os.dup(2)
  try:
    with open(os.devnull, 'w') as null:
      os.dup2(null.fileno(), 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)


def prepare_node() -> None:
  """Prepares a process of Launchpad's, before it unpickles its node."""
  quiet_libraries()
  # The launcher kills late nodes; Launchpad would print a countdown in each.
  flags.FLAGS.set_default('lp_termination_notice_secs', -1)
