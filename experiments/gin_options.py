"""Options of the algorithms, read from gin files and gin bindings.

Gin files are data here: they bind literals and macros, and include other files.
Whatever would import modules or refer to functions is refused.
"""

import functools
import os
import tokenize
from typing import Any, Mapping, Sequence, Tuple

import gin
from gin import config_parser

from . import algorithms

RECIPES = os.path.join(os.path.dirname(__file__), 'recipes')

# Options of the reference implementation that MSG itself does not need.
_REFUSED = {
    'use_img_encoder', 'img_encoder_params_ckpt_path', 'img_encoder_fn'}
# Far more than any file of options has.
_MAX_BYTES = 1_000_000
_MAX_SHOWN = 200


@functools.cache
def _register():
  """Tells gin the options' classes, once.

  Command lines and gin files write `ALGORITHM.config.CLASS.FIELD = VALUE`, as
  in the reference implementation.
  """
  for algorithm, options in algorithms.OPTIONS.items():
    gin.external_configurable(options, module=f'{algorithm}.config')


def parse(config_files: Sequence[str], bindings: Sequence[str]) -> None:
  """Forgets all bindings, then reads gin files and bindings, in this order.

  Args:
    config_files: paths of gin files, or names of files in `recipes/`.
    bindings: such as 'msg.config.MSGConfig.beta=-8'.

  Raises:
    ValueError: naming the binding, or file and line, if it names no parameter,
      is no literal or macro, or does not exist.
  """
  _register()
  gin.clear_config()
  reader = _Reader()
  for path in config_files:
    reader.read_file(path, f'--gin_configs={path!r}')
  for binding in bindings:
    shown = _shortened(binding)
    if not binding.strip():
      raise ValueError(f'--gin_bindings={shown!r} is empty; remove it.')
    reader.read(binding, f'--gin_bindings={shown!r}')
  reader.check_macros()


def _shortened(text: str) -> str:
  return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '...'


def _one_line(message: str) -> str:
  """Returns a message of gin's parser without its own lines of context."""
  message = message.split('\n  In ')[0]
  return _shortened(message.rsplit('\n', 1)[-1].strip())


class _Reader(gin.config.ParserDelegate):
  """Reads gin's statements with gin's own parser, and binds their values."""

  def __init__(self):
    super().__init__()
    self._defined, self._used = set(), set()

  def configurable_reference(self, scoped_selector, evaluate):
    raise ValueError(
        f'@{scoped_selector} refers to code; a value is a literal, or a macro '
        'such as %size.')

  def macro(self, name):
    self._used.add(name)
    return super().macro(name)

  def read(self, text: str, where: str, files: Tuple[str, ...] = ()) -> None:
    """Binds what a text says.

    Args:
      text: gin's statements.
      where: what the text is, for errors.
      files: the file of the text, after those that include it.

    Raises:
      ValueError: as `parse`.
    """
    line = 1
    at = lambda: f'{where}, line {line}' if files else where
    try:
      parser = config_parser.ConfigParser(text, self)
      while True:
        line = parser.current_token.start[0]
        statement = parser.parse_statement()
        if statement is None:
          return
        line = statement.location.line_num
        self._run(statement, at(), files)
    except SyntaxError as e:
      line = e.lineno or line
      raise ValueError(f'{at()}: {_one_line(e.msg)}') from e
    except tokenize.TokenError as e:
      line = e.args[1][0]
      raise ValueError(f'{at()}: {e.args[0]}') from e
    except RecursionError as e:
      raise ValueError(f'{at()}: it is nested too deeply.') from e
    except ValueError as e:
      if str(e).startswith(where):
        raise
      raise ValueError(f'{at()}: {_one_line(str(e))}') from e

  def read_file(self, path: str, where: str, files: Tuple[str, ...] = ()):
    """Binds what a file says; arguments are those of `read`."""
    found = next(filter(os.path.exists, (path, os.path.join(RECIPES, path))),
                 None) if '\0' not in path else None
    if found is None:
      raise ValueError(
          f'{where}: there is no file {path!r}. The recipes are '
          f'{", ".join(sorted(os.listdir(RECIPES)))}.')
    found = os.path.realpath(found)
    if found in files:
      raise ValueError(f'{where}: {path!r} includes itself.')
    try:
      if not os.path.isfile(found):
        raise ValueError('it is not a file.')
      if os.path.getsize(found) > _MAX_BYTES:
        raise ValueError(f'it has more than {_MAX_BYTES:,} bytes.')
      with open(found, encoding='utf-8') as f:
        text = f.read(_MAX_BYTES)
    except (OSError, ValueError) as e:
      raise ValueError(f'{where}: {path!r} cannot be read: {e}') from e
    self.read(text, where if not files else f'{where}: {path!r}',
              (*files, found))

  def _run(self, statement: Any, where: str, files: Tuple[str, ...]) -> None:
    """Runs one of gin's statements."""
    if isinstance(statement, config_parser.ImportStatement):
      raise ValueError(
          f'import of {statement.module!r}: gin files are data and import '
          'nothing; remove the line.')
    if isinstance(statement, config_parser.IncludeStatement):
      self.read_file(statement.filename, where, files)
      return
    if statement.scope:
      raise ValueError(
          f'the scope {statement.scope!r} is not read; write bindings like '
          'msg.config.MSGConfig.beta=-8.')
    if isinstance(statement, config_parser.BlockDeclaration):
      return  # Its bindings follow.
    if statement.arg_name in _REFUSED:
      raise ValueError(
          'image encoders are not supported; remove the binding.')
    if not statement.arg_name:
      self._defined.add(statement.selector)
      gin.bind_parameter(
          (statement.selector, 'gin.macro', 'value'), statement.value)
      return
    gin.bind_parameter(
        ('', statement.selector, statement.arg_name), statement.value)

  def check_macros(self) -> None:
    """Refuses macros without use or definition, which gin accepts silently."""
    unread = self._defined - self._used
    if unread:
      raise ValueError(
          f'The gin bindings of {sorted(unread)} name no parameter that is '
          'read; write them like msg.config.MSGConfig.beta=-8.')
    if self._used - self._defined:
      raise ValueError(f'The gin macros {sorted(self._used - self._defined)} '
                       'are used but not defined.')


def bound(algorithm: str) -> Mapping[str, Any]:
  """Returns the options of one of `algorithms.OPTIONS` that gin has bound.

  Raises:
    ValueError: if macros refer to each other in a circle.
  """
  _register()
  options = algorithms.OPTIONS[algorithm]
  try:
    return gin.get_bindings(f'{algorithm}.config.{options.__name__}')
  except RecursionError as e:
    raise ValueError(
        'A gin macro of the bindings refers to itself, perhaps through others.'
    ) from e
