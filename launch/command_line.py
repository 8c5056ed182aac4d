"""The command lines that launch experiments, whoever describes these.

An experiment's flags and what it is lie in rooms above this one, or in somebody
else's package. So a command line names the function that makes its experiment,
and the module of that function defines the flags.
"""

import importlib
import sys
from typing import Callable, Sequence

from absl import app
from absl import flags

from . import experiment_config

_DEFAULT = 'acme_msg.experiments.experiment_flags:make_experiment'

Make = Callable[[], experiment_config.ExperimentConfig]


class LaunchError(RuntimeError):
  """What was launched ended before it was finished."""


def _define(flag_values: flags.FlagValues) -> None:
  flags.DEFINE_string(
      'experiment', _DEFAULT,
      'MODULE:FUNCTION that takes nothing and returns an ExperimentConfig. The '
      'module is imported before flags are parsed, so that it may define some.',
      flag_values=flag_values)


def _find(name: str) -> Make:
  """Imports what a flag names.

  Args:
    name: 'module:function'.

  Raises:
    ValueError: if there is no such function.
  """
  module_name, _, function_name = name.partition(':')
  try:
    if not function_name:
      raise ValueError('it is not of the form MODULE:FUNCTION.')
    module = importlib.import_module(module_name)
    function = getattr(module, function_name)
    if not callable(function):
      raise ValueError(f'{function_name} is no function.')
    return function
  except (ValueError, AttributeError) as e:
    raise ValueError(f'--experiment={name!r}: {e}') from e
  except ModuleNotFoundError as e:
    missing = e.name or ''
    if missing != module_name and not module_name.startswith(missing + '.'):
      raise  # The module is there, and lacks something itself.
    raise ValueError(f'--experiment={name!r}: {e}.') from e


def find_experiment(argv: Sequence[str]) -> Make:
  """Returns the function that a command line names; its flags are defined then.

  Exits with a message if there is none.

  Args:
    argv: of the command line.
  """
  own = flags.FlagValues()  # Of this flag alone: the others are not known yet.
  _define(own)
  try:
    own(argv, known_only=True)
    return _find(own.experiment)
  except (flags.Error, ValueError) as e:
    sys.exit(f'error: {e}')


def run(main: Callable[[experiment_config.ExperimentConfig], None]) -> None:
  """Runs a command line to its end, with all flags of the named experiment.

  The flag `--dry_run` is for `main` to heed.

  Args:
    main: launches the experiment that the flags describe. What it raises of
      `ValueError`, `FileNotFoundError` and `LaunchError` ends the process with
      code 1 and the message alone.
  """
  _define(flags.FLAGS)
  flags.DEFINE_bool(
      'dry_run', False,
      'Print which nodes would run, with what and where, and start nothing.')
  make_experiment = find_experiment(sys.argv)
  # `--help` shows the flags of the module that is run; these belong to it.
  for module in (make_experiment.__module__, main.__module__, __name__):
    for flag in flags.FLAGS.get_flags_for_module(module):
      flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

  def checked(argv):
    if len(argv) > 1:
      sys.exit(f'error: {" ".join(argv[1:])!r}: only flags are taken.')
    try:
      main(make_experiment())
    except (ValueError, FileNotFoundError, LaunchError) as e:
      sys.exit(f'error: {e}')

  app.run(checked)
