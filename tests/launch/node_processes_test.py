"""Tests how nodes are started again and ended, in small real processes."""

import os
import re
import signal
import subprocess
import sys
import time

from acme_msg.launch import local
from acme_msg.launch import node_process
from acme_msg.launch import node_processes
from acme_msg.launch import node_status
from acme_msg.launch import shutdown
from acme_msg.launch import temporary
import launchpad as lp
import pytest


class Node:
  """A node that does one thing at its start, then waits for the end."""

  def __init__(self, what, path=''):
    self._what, self._path = what, path

  def run(self):
    stop = shutdown.begin()
    getattr(self, self._what)()
    shutdown.wait(stop)

  def wait(self):
    pass

  def stop_alone(self):
    """Is told to stop, as the only node, once the file is there."""
    while not os.path.exists(self._path):
      time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)

  def lose_first_request(self):
    handle = signal.getsignal(signal.SIGTERM)
    signal.signal(
        signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, handle))
    lp.stop()

  def ignore_requests(self):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(self._path, 'w'):
      pass

  def hang(self):
    node_status.progress()
    time.sleep(3600)

  def stop_itself(self):
    os.kill(os.getpid(), signal.SIGSTOP)

  def abort(self):
    print('no such device', file=sys.stderr)
    os.abort()

  def fail(self):
    raise ValueError('this node\nis broken')

  def die_often(self):
    """Dies each time, but has a result the second time."""
    with open(self._path, 'a+') as f:
      f.write('.')
      f.flush()
      f.seek(0)
      starts = len(f.read())
    node_status.progress()
    if starts == 2:
      node_status.evaluated()
    os.kill(os.getpid(), signal.SIGKILL)


def make_program(**nodes):
  """Returns a program of one node per group."""
  program = lp.Program('test')
  for group, arguments in nodes.items():
    with program.group(group):
      program.add_node(lp.PyClassNode(Node, *arguments))
  return program


def _run(**nodes):
  """Runs a program of one node per group; returns why it failed."""
  program = make_program(**nodes)
  with temporary.folder() as folder:
    return node_processes.run(
        program, node_processes.prepared(local.resources(), folder))


def test_two_programs_whose_nodes_miss_requests(tmp_path, monkeypatch, capfd):
  assert _run(data=('wait',), learner=('lose_first_request',)) is None
  assert 'did not stop' not in capfd.readouterr().out
  monkeypatch.setattr(node_processes, 'NOTICE_SECS', 3.)
  path = str(tmp_path / 'ignores')
  assert _run(
      data=('ignore_requests', path), learner=('stop_alone', path)) is None
  assert 'data/0 did not stop within 3 s and will be killed' in (
      capfd.readouterr().out)


def test_evaluators_are_started_again_up_to_a_cap(tmp_path, capfd, monkeypatch):
  monkeypatch.setattr(node_processes, 'MAX_RESTARTS', 1)
  path = tmp_path / 'starts'
  failure = _run(learner=('wait',), evaluator=('die_often', str(path)))
  assert failure == (
      'the node evaluator/0 was killed by SIGKILL (perhaps because memory ran '
      'out); started 2 times without a result')
  # A start, a second one with a result, and one more.
  assert len(path.read_text()) == 3
  output = capfd.readouterr().out
  assert output.count('1 of at most 1 times without a result') == 2


def test_nodes_without_progress_are_ended(capfd, monkeypatch):
  monkeypatch.setattr(node_process, 'STOPPED_SECS', 3.)
  monkeypatch.setattr(node_process, 'STALLED_SECS', {'evaluator': 600.})
  failure = _run(data=('stop_itself',), learner=('wait',))
  assert re.fullmatch(
      r'the node data/0 failed: it is stopped by a signal since ..:..:.. '
      r'\(3 s\)', failure)
  output = capfd.readouterr().out
  assert re.search(
      r'data/0 [(]pid [0-9]+[)] is stopped by a signal since ..:..:..[.] It '
      r'will be killed after 3 s. `kill -CONT` lets it go on', output), output
  monkeypatch.setattr(node_process, 'STALLED_SECS', {'evaluator': 4.})
  monkeypatch.setattr(node_processes, 'MAX_RESTARTS', 0)
  failure = _run(learner=('wait',), evaluator=('hang',))
  assert 'evaluator/0 failed: it makes no progress since' in failure


@pytest.mark.parametrize('what, cause', [
    ('fail', 'failed: ValueError: this node is broken'),
    ('abort', 'was killed by SIGABRT; it printed last: no such device')])
def test_a_failed_node_is_named_with_its_cause(what, cause):
  assert _run(data=(what,), learner=('wait',)) == f'the node data/0 {cause}'


_THREADS = '''
from absl import flags
from acme_msg.launch import node_threads
import node_processes_test

flags.FLAGS(['test', '--lp_termination_notice_secs=-1'])
print(node_threads.run(node_processes_test.make_program(
    data=('fail',), learner=('wait',))))
'''


def test_a_failed_thread_is_named_with_its_cause():
  done = subprocess.run(
      [sys.executable, '-c', _THREADS], check=True, capture_output=True,
      text=True, timeout=600)
  assert done.stdout.endswith(
      'the node data/0 failed: ValueError: this node is broken\n')
