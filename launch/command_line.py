"""Shared code of the command lines that launch experiments.

`--experiment` names the function that makes the experiment. The function's
module, in `acme_msg.experiments` or in a user's package, defines the flags of
the experiment.
"""

import importlib
import sys
from typing import Callable, Sequence

from absl import flags

from . import experiment_config
from . import faults
from .. import command_help

_DEFAULT = 'acme_msg.experiments.experiment_flags:make_experiment'

Make = Callable[[], experiment_config.ExperimentConfig]


class LaunchError(RuntimeError):
  """The launched program ended before the run was finished."""


def _define(flag_values: flags.FlagValues) -> None:
  flags.DEFINE_string(
      'experiment', _DEFAULT,
      'MODULE:FUNCTION that takes no arguments and returns an '
      'ExperimentConfig. The module is imported before flags are parsed, so '
      'that it may define some.',
      flag_values=flag_values)


def _find(name: str) -> Make:
  """Imports the function that `--experiment` names.

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
      raise ValueError(f'{function_name} is not a function.')
    return function
  except (ValueError, AttributeError) as e:
    raise ValueError(f'--experiment={name!r}: {e}') from e
  except ModuleNotFoundError as e:
    missing = e.name or ''
    if missing != module_name and not module_name.startswith(missing + '.'):
      raise  # The module exists, and one of its own imports fails.
    raise ValueError(f'--experiment={name!r}: {e}.') from e


def find_experiment(argv: Sequence[str]) -> Make:
  """Returns the function that makes the experiment, and defines its flags.

  Exits with a message if there is no such function.

  Args:
    argv: the command line.
  """
  own = flags.FlagValues()  # Only --experiment: no other flag is defined yet.
  _define(own)
  try:
    own(argv, known_only=True)
    return _find(own.experiment)
  except (flags.Error, ValueError) as e:
    sys.exit(f'error: {e}')


def exit_if_expected(error: Exception) -> None:
  """Ends the process with one line if an error is no bug.

  Args:
    error: an `OSError`, `ValueError` or `LaunchError`, or a lack of memory.
  """
  if what := faults.explain(error):
    sys.exit(f'error: {what}.')
  if isinstance(error, (OSError, ValueError, LaunchError)):
    sys.exit(f'error: {error}')


def run(main: Callable[[experiment_config.ExperimentConfig], None],
        library_flags: Sequence[str] = ()) -> None:
  """Runs a command line to its end, with all flags of its experiment.

  Args:
    main: launches the experiment that the flags describe, or with `--dry_run`
      prints what it would launch.
    library_flags: flags of libraries that `--help` shows, too.
  """
  _define(flags.FLAGS)
  flags.DEFINE_bool(
      'dry_run', False,
      'Print which nodes would run, with what and where, and start nothing.')
  make_experiment = find_experiment(sys.argv)

  def checked(argv):
    if len(argv) > 1:
      sys.exit(f'error: {" ".join(argv[1:])!r}: only flags are taken.')
    try:
      main(make_experiment())
    except Exception as e:
      exit_if_expected(e)
      raise

  def names(module):
    return [flag.name for flag in flags.FLAGS.get_flags_for_module(module)]

  command_help.run(checked, {
      'Launching': [*names(__name__), *names(main.__module__), *library_flags],
      f'The experiment (flags of {make_experiment.__module__})':
          names(make_experiment.__module__)})
