"""Writes are complete or absent, also those of a killed process."""

import os
import signal
import subprocess
import sys

from acme_msg import atomic_files
import pytest


@pytest.fixture(params=['w', 'wb'])
def mode(request):
  return request.param


def _content(text, mode):
  return text if mode == 'w' else text.encode()


def test_replace_makes_and_replaces(tmp_path, mode):
  path = tmp_path / 'new' / 'file'
  for text in ('one\r\n', 'two\n'):
    with atomic_files.replace(str(path), mode) as file:
      file.write(_content(text, mode))
      # Until the end, readers see the content of before.
      assert path.exists() == (text == 'two\n')
    assert path.read_bytes() == text.encode()
    assert os.listdir(path.parent) == ['file']
  other = tmp_path / 'other'
  other.touch()
  assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt, SystemExit])
def test_failed_replace_leaves_the_old_content(tmp_path, mode, error):
  path = tmp_path / 'file'
  path.write_text('old')
  with pytest.raises(error):
    with atomic_files.replace(str(path), mode) as file:
      file.write(_content('new', mode))
      raise error
  assert path.read_text() == 'old'
  assert os.listdir(tmp_path) == ['file']


def test_replace_of_a_directory_leaves_it(tmp_path):
  (tmp_path / 'folder').mkdir()
  with pytest.raises(OSError):
    with atomic_files.replace(str(tmp_path / 'folder')) as file:
      file.write('new')
  assert os.listdir(tmp_path) == ['folder']


@pytest.mark.parametrize('directory', [True, False])
def test_create_makes_what_is_new(tmp_path, directory):
  path = str(tmp_path / 'deep' / 'new')
  with atomic_files.create(path, directory) as temporary:
    assert atomic_files.is_partial(temporary) and not os.path.exists(path)
    assert os.path.isdir(temporary) == directory
    with open(os.path.join(temporary, 'x') if directory else temporary,
              'w', encoding='utf8') as file:
      file.write('content')
  assert os.listdir(tmp_path / 'deep') == ['new']
  assert os.path.isdir(path) == directory
  with pytest.raises(FileExistsError, match='new exists'):
    with atomic_files.create(path, directory):
      raise AssertionError('The body must not run.')


@pytest.mark.parametrize('directory', [True, False])
def test_failed_create_leaves_nothing(tmp_path, directory):
  with pytest.raises(OSError, match='^disk full$'):
    with atomic_files.create(str(tmp_path / 'new'), directory):
      raise OSError('disk full')
  # Another process takes the name meanwhile.
  with pytest.raises(FileExistsError):
    with atomic_files.create(str(tmp_path / 'new'), directory):
      (tmp_path / 'new').write_text('precious')
  assert os.listdir(tmp_path) == ['new']
  assert (tmp_path / 'new').read_text() == 'precious'


_KILLED = '''
import os, signal, sys
from acme_msg import atomic_files
with (atomic_files.create(sys.argv[1] + '1', directory=True),
      atomic_files.create(sys.argv[1] + '2', directory=False),
      atomic_files.replace(sys.argv[1]) as file):
  file.write('new')
  file.flush()
  os.kill(os.getpid(), signal.SIGKILL)
'''


def test_killed_process_leaves_the_old_content(tmp_path, caplog):
  path = tmp_path / 'file'
  path.write_text('old')
  done = subprocess.run(
      [sys.executable, '-c', _KILLED, str(path)], check=False)
  assert done.returncode == -signal.SIGKILL
  assert path.read_text() == 'old'
  left = set(os.listdir(tmp_path)) - {'file'}
  assert len(left) == 3 and all(map(atomic_files.is_partial, left))
  assert not atomic_files.is_partial(str(path))

  with atomic_files.replace(str(path)) as file:
    file.write('new')
  assert path.read_text() == 'new' and not caplog.text
  with atomic_files.create(f'{path}2', directory=False):
    pass
  # The unfinished file may belong to a running process, so that it stays.
  assert '.file2.partial-' in caplog.text and 'remove it' in caplog.text
  assert set(os.listdir(tmp_path)) == {'file', 'file2', *left}
