"""Tests how nodes are started again and ended, in small real processes."""

import os
import signal

from acme_msg.launch import local
from acme_msg.launch import node_processes
from acme_msg.launch import node_status
from acme_msg.launch import shutdown
import launchpad as lp


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

  def end_program(self):
    lp.stop()

  def lose_first_request(self):
    handle = signal.getsignal(signal.SIGTERM)
    signal.signal(
        signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, handle))
    lp.stop()

  def ignore_requests(self):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

  def fail(self):
    raise ValueError('this node\nis broken')

  def die_often(self):
    """Dies four times, with one result after the second time."""
    with open(self._path, 'a+') as f:
      f.write('.')
      f.flush()
      f.seek(0)
      starts = len(f.read())
    node_status.progress()
    if starts == 3:
      node_status.evaluated()
    os.kill(os.getpid(), signal.SIGKILL)


def _run(**nodes):
  """Runs a program of one node per group; returns why it failed."""
  program = lp.Program('test')
  for group, arguments in nodes.items():
    with program.group(group):
      program.add_node(lp.PyClassNode(Node, *arguments))
  with local._prepared(local.resources()) as resources:  # pylint: disable=protected-access
    return node_processes.run(program, resources)


def test_two_programs_whose_nodes_miss_their_first_request(monkeypatch, capfd):
  assert _run(data=('wait',), learner=('lose_first_request',)) is None
  assert 'did not stop' not in capfd.readouterr().out
  monkeypatch.setattr(node_processes, 'NOTICE_SECS', 3.)
  assert _run(data=('ignore_requests',), learner=('end_program',)) is None
  assert 'data/0 did not stop within 3 s and will be killed' in (
      capfd.readouterr().out)


def test_evaluators_are_started_again_up_to_a_cap(tmp_path, capfd, monkeypatch):
  monkeypatch.setattr(node_processes, 'MAX_RESTARTS', 2)
  path = tmp_path / 'starts'
  failure = _run(learner=('wait',), evaluator=('die_often', str(path)))
  assert failure == (
      'the node evaluator/0 was killed by SIGKILL (perhaps because memory ran '
      'out), 3 times without a result')
  # Two starts, a third with a result, and two more.
  assert len(path.read_text()) == 5
  output = capfd.readouterr().out
  assert output.count('1 of at most 2 times without a result') == 2


def test_a_failed_node_is_named_with_its_error():
  failure = _run(data=('fail',), learner=('wait',))
  assert failure == (
      'the node data/0 failed: ValueError: this node is broken')
