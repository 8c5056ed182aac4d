"""Tests of the folder for a run's temporary files."""

import os
import socket
import tempfile

from acme_msg.launch import temporary
import pytest


@pytest.fixture(name='outer')
def _outer(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  return tmp_path


def test_folder_takes_all_temporary_files_and_goes_at_the_end(outer):
  with pytest.raises(ZeroDivisionError):
    with temporary.folder() as folder:
      left = tempfile.mkdtemp()
      assert os.path.dirname(left) == folder == os.environ['TMPDIR']
      assert os.stat(folder).st_mode & 0o777 == 0o700
      raise ZeroDivisionError
  assert not os.listdir(outer)
  assert os.environ['TMPDIR'] == tempfile.gettempdir() == str(outer)


def test_folders_of_dead_processes_are_removed(outer, monkeypatch):
  with monkeypatch.context() as other:
    other.setattr(socket, 'gethostname', lambda: 'other')
    shared, lock = temporary._make()
    os.close(lock)  # A lock of another machine may not be seen here.
  dead, lock = temporary._make()
  os.mkdir(os.path.join(dead, 'left'))
  os.close(lock)  # As the end of a process does.
  link = f'{temporary._prefix()}link'
  (outer / link).symlink_to(outer.parent)
  with temporary.folder() as first:
    assert not os.path.exists(dead)
    with temporary.folder():  # As another process's.
      assert os.path.exists(first)
  assert set(os.listdir(outer)) == {link, os.path.basename(shared)}
  assert os.listdir(outer.parent)
