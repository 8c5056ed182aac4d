"""Tests of values packed as bytes."""

import collections
import io
import json
import os
import pickle
from typing import Any, NamedTuple

from acme_msg.launch import packing

# acme_msg must come first: it restores JAX names that Acme imports.
# isort: split
from acme.jax import running_statistics
import jax
import jax.numpy as jnp
import numpy as np
import pytest


class _Pair(NamedTuple):
  one: Any
  other: Any


class _Code:

  def __reduce__(self):
    return os.mkdir, ('code_ran',)


def _variables():
  return {
      'policy': {'torso/linear': {'w': jnp.arange(6.).reshape(2, 3),
                                  'b': np.float64(-0.)}},
      'statistics': running_statistics.NestedMeanStd(
          mean={'x': np.ones(3, np.float32)}, std=_Pair(jnp.nan, 2)),
      'odd': [(jnp.bfloat16(1.5), np.zeros((0, 4), np.int8)), b'\0', True, 'a',
              np.int64(7), None, np.asfortranarray(np.arange(4).reshape(2, 2))],
  }


def test_packing_keeps_values_types_and_structure():
  wanted = _variables()
  found = packing.unpack(packing.pack(wanted))
  assert (jax.tree_util.tree_structure(found)
          == jax.tree_util.tree_structure(wanted))
  for a, b in zip(*map(jax.tree_util.tree_leaves, (found, wanted))):
    if isinstance(b, (jax.Array, np.ndarray, np.generic)):
      assert isinstance(a, np.generic) == isinstance(b, np.generic)
      b = np.asarray(b)
      assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    else:
      assert a is b or a == b or (a != a and b != b)
  assert found['statistics'].std.other == 2


def test_other_mappings_become_dicts():
  found = packing.unpack(packing.pack(collections.OrderedDict(b=1, a=[])))
  assert found == {'b': 1, 'a': []} and type(found) is dict


@pytest.mark.parametrize('leaf, named', [
    (_Code(), r"variables\['policy'\]\[1\] is a _Code"),
    (np.asarray([_Code()]), 'array of Python objects'),
    ({(1, 2): 3}, r'key \(1, 2\)')])
def test_what_is_no_array_is_refused(leaf, named):
  with pytest.raises(ValueError, match=named):
    packing.pack({'policy': [0, leaf]}, 'variables')


def _forged(structure):
  file = io.BytesIO()
  np.savez(file, structure=np.asarray(json.dumps(structure)))
  return file.getvalue()


def _objects():
  file = io.BytesIO()
  np.savez(file, structure=np.asarray(_Code(), object))
  return file.getvalue()


@pytest.mark.parametrize('data', [
    pickle.dumps(_Code()),
    _objects(),
    _forged(['namedtuple', ['os', 'mkdir'], [['path', ['value', 'code_ran']]]]),
    _forged(['dataclass', ['os', '_wrap_close'], []]),
    _forged(['namedtuple', ['antigravity', 'fly'], []]),
    _forged(['function', ['os', 'mkdir'], []]),
    packing.pack(_variables())[:-9],
    b''])
def test_forged_and_damaged_bytes_run_no_code(data, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises((ValueError, EOFError)):
    packing.unpack(data)
  assert not os.listdir(tmp_path)
