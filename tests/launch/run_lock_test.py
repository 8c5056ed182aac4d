"""Tests that a run's directory has one owner, who may die at any time."""

import csv
import os
import re
import threading
import time

from acme_msg.launch import checkpointing
from acme_msg.launch import local
from acme_msg.launch import run_lock
import cloning
import programs
import pytest


def test_one_of_many_owns_the_directory(tmp_path):
  root_dir = str(tmp_path / 'runs' / 'one')
  inside, most = 0, 0

  def work():
    nonlocal inside, most
    for _ in range(20):
      with run_lock.hold(root_dir):
        inside += 1
        most = max(most, inside)
        time.sleep(1e-4)
        inside -= 1

  threads = [threading.Thread(target=work) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert most == 1
  assert not list(tmp_path.rglob('.lock'))


def test_two_starts_at_once_then_a_killed_owner(tmp_path):
  root_dir = str(tmp_path / 'run')
  starts = [
      programs.Program([cloning.__file__, 'one', root_dir, 'delay=10'],
                       tmp_path / f'output{i}') for i in range(2)]
  metrics = tmp_path / 'run' / 'logs' / 'learner.csv'
  with starts[0], starts[1]:
    deadline = time.time() + 900
    while all(start.processes() for start in starts):
      assert time.time() < deadline
      time.sleep(0.1)
    [owner] = [start for start in starts if start.processes()]
    [other] = [start for start in starts if start is not owner]
    code, output = other.wait()
    assert code == 1, output
    assert re.search(
        rf'{root_dir} is in use by another process: host .*, pid {owner.pid}, '
        r'since 20\d\d-.*cloning.py one', output), output
    owner.wait_until(lambda: metrics.exists() and metrics.stat().st_size)
    os.kill(owner.pid, 9)
    # The same command continues, also while the owner is dying.
    local.run_local(cloning.make_experiment(root_dir))
  assert checkpointing.latest_step(root_dir) == 40
  with open(metrics) as f:
    steps = [int(row['gradient_steps']) for row in csv.DictReader(f)]
  assert steps[0] == 5 and set(steps) <= set(range(5, 45, 5)), steps
  assert not (tmp_path / 'run' / '.lock').exists()


def test_stale_lock_is_taken_over_and_told(tmp_path, capsys):
  (tmp_path / '.lock').write_text('host far, pid 7, since yesterday: train\n')
  run_lock.check(str(tmp_path))
  assert (tmp_path / '.lock').exists() and not capsys.readouterr().out
  with run_lock.hold(str(tmp_path)):
    assert 'ended without notice: host far, pid 7,' in capsys.readouterr().out
    assert f'pid {os.getpid()}' in (tmp_path / '.lock').read_text()
  with run_lock.hold(str(tmp_path)):  # A regular end leaves nothing to tell.
    assert not capsys.readouterr().out


def test_refusal_names_the_owner_and_leaves_it_in_peace(tmp_path, monkeypatch):
  monkeypatch.setattr(run_lock, '_PATIENCE', 0.3)
  root_dir = str(tmp_path / 'run')
  with run_lock.hold(root_dir):
    text = (tmp_path / 'run' / '.lock').read_text()
    for start in (local.run_local, local.launch):
      with pytest.raises(ValueError, match=f'in use .*pid {os.getpid()}, '):
        start(cloning.make_experiment(root_dir))
    assert (tmp_path / 'run' / '.lock').read_text() == text
  assert not list(tmp_path.iterdir())


def test_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):

  def flock(*_):
    raise OSError(38, 'Function not implemented')

  monkeypatch.setattr(run_lock.fcntl, 'flock', flock)
  with run_lock.hold(str(tmp_path / 'run')):
    pass
  assert 'cannot be locked (Function not impl' in capsys.readouterr().out
