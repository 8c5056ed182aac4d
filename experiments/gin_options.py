"""Options of the algorithms, read from gin files and gin bindings."""

import functools
import logging
import os
import re
import typing
from typing import Any, Mapping, Sequence, Union

import gin

from . import algorithms

RECIPES = os.path.join(os.path.dirname(__file__), 'recipes')

# Options of the reference implementation that MSG itself does not need.
_REFUSED = {
    'use_img_encoder', 'img_encoder_params_ckpt_path', 'img_encoder_fn'}


@functools.cache
def _register():
  """Tells gin the options' classes and the folder of recipes, once.

  Command lines and gin files write `ALGORITHM.config.CLASS.FIELD = VALUE`, as
  in the reference implementation.
  """
  for algorithm, options in algorithms.OPTIONS.items():
    gin.external_configurable(options, module=f'{algorithm}.config')
  gin.add_config_file_search_path(RECIPES)
  # Gin logs an error for each folder without the wanted file.
  logging.getLogger().addFilter(
      lambda record: record.module != 'resource_reader')


def parse(config_files: Sequence[str], bindings: Sequence[str]) -> None:
  """Forgets all bindings, then reads gin files and bindings, in this order.

  Args:
    config_files: paths of gin files, or names of files in `recipes/`.
    bindings: such as 'msg.config.MSGConfig.beta=-8'.

  Raises:
    ValueError: naming the binding or file, if it names no parameter, is not
      Python, or does not exist.
  """
  _register()
  gin.clear_config()
  for path in config_files:
    try:
      gin.parse_config_file(path, skip_unknown=False)
    except OSError as e:
      raise ValueError(
          f'--gin_configs={path!r}: {e}\nThe recipes are '
          f'{", ".join(sorted(os.listdir(RECIPES)))}.') from e
    except (ValueError, SyntaxError) as e:
      raise ValueError(f'--gin_configs={path!r}: {e}') from e
  for binding in bindings:
    name = binding.split('=')[0].strip().rsplit('.', 1)[-1]
    if name in _REFUSED:
      raise ValueError(
          f'--gin_bindings={binding!r}: image encoders are not supported; '
          'remove the binding.')
    try:
      gin.parse_config(binding, skip_unknown=False)
    except (OSError, ValueError, SyntaxError) as e:
      raise ValueError(f'--gin_bindings={binding!r}: {e}') from e
  _check_all_read()


def _check_all_read():
  """Refuses scopes and unused macros, which gin accepts silently."""
  text = gin.config_str()
  names = set(re.findall(r'^([\w./]+) = ', text, re.MULTILINE))
  macros = {name for name in names if not set('./').intersection(name)}
  used = set(re.findall(r'%([\w.]+)', text))
  unread = {name for name in names if '/' in name} | (macros - used)
  if unread:
    raise ValueError(
        f'The gin bindings of {sorted(unread)} name no parameter that is read; '
        'write them like msg.config.MSGConfig.beta=-8.')
  if used - macros:
    raise ValueError(
        f'The gin macros {sorted(used - macros)} are used but not defined.')


def bound(algorithm: str) -> Mapping[str, Any]:
  """Returns the options of one of `algorithms.OPTIONS` that gin has bound.

  Raises:
    ValueError: if a value has not the type of its option.
  """
  _register()
  options = algorithms.OPTIONS[algorithm]
  name = f'{algorithm}.config.{options.__name__}'
  values = gin.get_bindings(name)
  hints = typing.get_type_hints(options)
  for field, value in values.items():
    if not _fits(value, hints[field]):
      hint = hints[field]
      hint = hint.__name__ if isinstance(hint, type) else hint
      raise ValueError(
          f'The gin binding {name}.{field}={value!r} is not of the type '
          f'{hint}.')
  return values


def _fits(value: Any, hint: Any) -> bool:
  """Returns whether a value has the type that an option is annotated with."""
  kinds = typing.get_args(hint)
  if typing.get_origin(hint) is Union:
    return any(_fits(value, kind) for kind in kinds)
  if kinds:
    return (isinstance(value, (tuple, list)) and
            all(_fits(item, kinds[0]) for item in value))
  if isinstance(value, bool):
    return hint is bool
  return isinstance(value, (int, float) if hint is float else hint)
