"""Command lines whose `--help` lists the program's own flags, in groups.

absl's `--help` lists only flags that the main module itself defines, so flags
that it shares with other modules are missing. Its `--helpfull` adds those of
every imported library.
"""

import inspect
import sys
from typing import Any, Callable, Iterable, Mapping, Sequence

from absl import app
from absl import flags


def run(
    main: Callable[[Sequence[str]], Any],
    groups: Mapping[str, Iterable[str]] | None = None,
) -> None:
  """Runs a program like `absl.app.run`, with a `--help` of its own flags.

  Args:
    main: receives the arguments that are not flags, the program's name first.
      Its `app.UsageError` ends the program with code 1 and the message.
    groups: names of flags by the title under which `--help` lists them. Flags
      of the main module that are in no group follow under 'Flags'.
  """
  def parse(argv: Sequence[str]) -> Sequence[str]:
    if '--help' in argv or '-h' in argv:
      print(describe(groups or {}))
      sys.exit()
    return app.parse_flags_with_usage(argv)

  def checked(argv: Sequence[str]) -> Any:
    try:
      return main(argv)
    except app.UsageError as error:
      sys.exit(f'error: {error} --help describes the command.')

  app.run(checked, flags_parser=parse)


def describe(groups: Mapping[str, Iterable[str]]) -> str:
  """Returns the main module's docstring and its flags; see `run`.

  Raises:
    KeyError: if a group names a flag that is not defined.
  """
  groups = {title: list(names) for title, names in groups.items()}
  grouped = {name for names in groups.values() for name in names}
  rest = [flag.name for flag in flags.FLAGS.get_flags_for_module(sys.argv[0])
          if flag.name not in grouped]
  if rest:
    groups['Flags'] = rest
  parts = [inspect.getdoc(sys.modules['__main__']) or '']
  for title, names in groups.items():
    shown = flags.FlagValues()
    for name in names:
      shown[name] = flags.FLAGS[name]
    parts.append(f'{title}:\n' + shown.get_help(
        prefix='  ', include_special_flags=False))
  parts.append('--helpfull also lists the flags of the libraries.')
  return '\n\n'.join(parts)
