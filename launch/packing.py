"""Values as bytes that hold arrays and their structure, and no code.

Nodes send these to each other. A pickle runs the code that it names, whoever
wrote it.
"""

import dataclasses
import io
import json
import operator
import sys
from typing import Any, List, Mapping
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

_STRUCTURE = 'structure'


def pack(value: Any, name: str = 'value') -> bytes:
  """Returns a value as bytes: NumPy's npz, with the structure as JSON.

  Args:
    value: arrays, Python numbers, strings, bytes, booleans and None, in any
      nesting of dicts, lists, tuples, named tuples and dataclasses. Other
      mappings become dicts, and JAX's arrays become NumPy's.
    name: what messages call it.

  Raises:
    ValueError: if there is anything else among them.
  """
  arrays: List[np.ndarray] = []
  structure = json.dumps(_describe(value, name, arrays))
  file = io.BytesIO()
  np.savez(file, *arrays, **{_STRUCTURE: np.asarray(structure)})
  return file.getvalue()


def unpack(data: bytes) -> Any:
  """Returns the value that `pack` has packed.

  Raises:
    ValueError: if the data is damaged, or names a class that this process has
      not imported.
  """
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
      return _build(json.loads(arrays[_STRUCTURE].item()), arrays)
  except (AttributeError, KeyError, TypeError, zipfile.BadZipFile) as e:
    raise ValueError(f'The packed value is damaged: {e!r}.') from e


def _describe(node: Any, path: str, arrays: List[np.ndarray]) -> List[Any]:
  """Describes a node as [kind, ...], and appends its arrays."""
  if isinstance(node, (jax.Array, np.ndarray, np.generic)):
    array = np.asarray(node)
    if array.dtype.hasobject:
      raise ValueError(f'{path} is an array of Python objects; it must be one '
                       'of numbers.')
    arrays.append(array)
    # NumPy's format has no name for JAX's own types, such as bfloat16.
    kind = 'scalar' if isinstance(node, np.generic) else 'array'
    return [kind, f'arr_{len(arrays) - 1}', array.dtype.name]
  if type(node) is bytes:
    arrays.append(np.frombuffer(node, np.uint8))
    return ['bytes', f'arr_{len(arrays) - 1}']
  if node is None or type(node) in (bool, int, float, str):
    return ['value', node]
  if dataclasses.is_dataclass(node) and not isinstance(node, type):
    parts = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return ['dataclass', _name(node), _items(parts, path, arrays)]
  if isinstance(node, Mapping):
    return ['dict', _items(node, path, arrays)]
  if isinstance(node, tuple) and hasattr(node, '_fields'):
    parts = dict(zip(node._fields, node))
    return ['namedtuple', _name(node), _items(parts, path, arrays)]
  if type(node) in (list, tuple):
    items = _items(dict(enumerate(node)), path, arrays)
    return [type(node).__name__, items]
  raise ValueError(
      f'{path} is a {type(node).__name__}, which cannot be sent between nodes: '
      'it must be an array, or a dict, list, tuple, named tuple or dataclass '
      'of arrays.')


def _items(parts: Mapping[Any, Any], path: str,
           arrays: List[np.ndarray]) -> List[Any]:
  for key in parts:
    if type(key) not in (bool, int, float, str):
      raise ValueError(f'{path} has the key {key!r}; keys must be strings or '
                       'numbers.')
  return [[key, _describe(value, f'{path}[{key!r}]', arrays)]
          for key, value in parts.items()]


def _name(node: Any) -> List[str]:
  return [type(node).__module__, type(node).__qualname__]


def _build(description: Any, arrays: Mapping[str, np.ndarray]) -> Any:
  kind, *rest, content = description
  if kind == 'value':
    return content
  if kind == 'bytes':
    return arrays[content].tobytes()
  if kind in ('array', 'scalar'):
    array = arrays[rest[0]]
    if array.dtype.kind == 'V':
      array = array.view(getattr(jnp, content))
    return array if kind == 'array' else array[()]
  parts = {key: _build(part, arrays) for key, part in content}
  if kind == 'dict':
    return parts
  if kind in ('list', 'tuple'):
    return {'list': list, 'tuple': tuple}[kind](parts.values())
  cls = _find(*rest[0])
  # Neither runs code of the class.
  if kind == 'namedtuple' and issubclass(cls, tuple):
    return tuple.__new__(cls, parts.values())
  if kind == 'dataclass' and dataclasses.is_dataclass(cls):
    built = object.__new__(cls)
    for key, part in parts.items():
      object.__setattr__(built, key, part)
    return built
  raise ValueError(f'The packed value holds the unknown {kind} {rest}.')


def _find(module: str, name: str) -> type:
  """Finds a class of the modules that are imported already."""
  try:
    found = operator.attrgetter(name)(sys.modules[module])
  except (AttributeError, KeyError) as e:
    raise ValueError(
        f'The packed value holds a {module}.{name}, which this process has not '
        'imported. Import its module in the one that defines the builder.'
        ) from e
  if not isinstance(found, type):
    raise ValueError(f'{module}.{name} is no class.')
  return found
