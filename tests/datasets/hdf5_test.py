"""Tests that `hdf5.read` returns what h5py reads."""

from acme_msg.datasets import hdf5
import h5py
import numpy as np
import pytest

_LAYOUTS = {
    'gzip': dict(compression='gzip'),
    'shuffled': dict(compression='gzip', shuffle=True),
    'columns apart': dict(compression='gzip', chunks=(700, 2)),
    'one chunk': dict(compression='gzip', chunks=(3000, 5)),
    'another filter': dict(compression='lzf'),
    'checksums': dict(compression='gzip', fletcher32=True),
    'uncompressed': {},
}


@pytest.mark.parametrize('layout', _LAYOUTS)
@pytest.mark.parametrize('dtype, shape', [
    ('<f4', (3000, 5)), ('>f8', (3000, 5)), (bool, (3000,)), ('i2', (3000, 5))])
def test_rows_are_what_h5py_reads(
    tmp_path, monkeypatch, layout, dtype, shape):
  monkeypatch.setattr(hdf5, '_LEAST_SIZE', 0)
  values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
  options = dict(_LAYOUTS[layout])
  if 'chunks' in options:
    options['chunks'] = options['chunks'][:len(shape)]
  path = str(tmp_path / 'x.hdf5')
  with h5py.File(path, 'w') as file:
    file.create_dataset('x', data=values, **options)
  with hdf5.open_file(path) as file:
    for start, stop in ((0, None), (0, 700), (699, 702), (1234, 3000)):
      found = hdf5.read(file['x'], start, stop)
      assert found.dtype == values.dtype
      np.testing.assert_array_equal(found, values[start:stop])


def test_chunks_never_written_are_filled(tmp_path, monkeypatch):
  monkeypatch.setattr(hdf5, '_LEAST_SIZE', 0)
  with h5py.File(tmp_path / 'x.hdf5', 'w') as file:
    field = file.create_dataset(
        'x', shape=(100, 2), dtype='f4', chunks=(10, 2), compression='gzip',
        fillvalue=7)
    field[50:] = 1
    np.testing.assert_array_equal(hdf5.read(field)[:50], 7)


def test_damaged_chunk_names_the_field(tmp_path, monkeypatch):
  monkeypatch.setattr(hdf5, '_LEAST_SIZE', 0)
  path = str(tmp_path / 'x.hdf5')
  with h5py.File(path, 'w') as file:
    field = file.create_dataset(
        'x', data=np.arange(1000.), compression='gzip', chunks=(100,))
    offset = field.id.get_chunk_info(3).byte_offset
  with open(path, 'r+b') as file:
    file.seek(offset)
    file.write(b'\xff' * 8)
  with pytest.raises(ValueError, match="damaged.*while reading the field 'x'"):
    with hdf5.open_file(path) as file:
      hdf5.read(file['x'])
