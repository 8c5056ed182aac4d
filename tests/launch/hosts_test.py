"""Tests of how hosts join, agree and fail: real processes on this machine.

As a program this file is one of two hosts:
`python hosts_test.py <scenario> <index> <port>`.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from acme_msg.launch import hosts
from acme_msg.launch import node_process
from acme_msg.launch import pod
from acme_msg.launch import shutdown
import cloning
import numpy as np
import portpicker
import pytest

# Seconds after which a process counts as hanging, on a busy machine.
_TIMEOUT = 900


def _agree(group):
  """Uses all of `Hosts`, up to a stop that one host is told."""
  np.testing.assert_array_equal(
      group.all_of([group.index, 5]), [[0, 5], [1, 5]])
  assert group.any(group.index == 1) and not group.any(False)
  since = time.time()
  group.wait(lambda: group.index == 1 or time.time() > since + 1)
  assert time.time() > since + 1  # Host 1 was done before that.
  if group.index == 1:
    os.kill(os.getpid(), signal.SIGTERM)
  with pytest.raises(shutdown.Stopped):
    group.wait(lambda: False)
  with pytest.raises(shutdown.Stopped):
    group.check()


def _main(scenario, index, port):
  stop = threading.Event()
  signal.signal(signal.SIGTERM, lambda *_: stop.set())
  timeout = 1. if scenario == 'missing' else _TIMEOUT
  with hosts.join(f'localhost:{port}', 2, int(index), timeout) as group:
    group.stop = stop
    if scenario == 'agree':
      _agree(group)
    else:
      group.check()
      what, culprit = scenario.split('_')
      if group.index == int(culprit):
        if what == 'kill':
          os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError('no such maze')
      while True:
        group.check()
  print('left')


def _start(scenario, index, port):
  return subprocess.Popen(
      [sys.executable, __file__, scenario, str(index), str(port)],
      env={**os.environ, 'JAX_PLATFORMS': 'cpu'}, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True)


@pytest.fixture(name='runs', scope='module')
def _runs():
  """Exit codes and outputs of each scenario's hosts; all run side by side."""
  scenarios = {**dict.fromkeys(
      ('agree', 'fail_0', 'fail_1', 'kill_0', 'kill_1'), 2),
               'missing': 1}
  processes = {}
  for scenario, count in scenarios.items():
    port = portpicker.pick_unused_port()
    processes[scenario] = [
        _start(scenario, index, port) for index in range(count)]
  try:
    outputs = {scenario: [process.communicate(timeout=_TIMEOUT)[0]
                          for process in started]
               for scenario, started in processes.items()}
  finally:
    for process in sum(processes.values(), []):
      process.kill()
  return {scenario: ([process.returncode for process in started],
                     outputs[scenario])
          for scenario, started in processes.items()}


def test_hosts_agree_and_leave(runs):
  codes, outputs = runs['agree']
  assert codes == [0, 0], outputs
  for index, output in enumerate(outputs):
    assert f'learner host {index} of 2' in output
    assert 'left' in output


@pytest.mark.parametrize('culprit', [0, 1])
def test_a_failed_host_ends_all_and_is_named_with_its_error(runs, culprit):
  codes, outputs = runs[f'fail_{culprit}']
  assert codes == [1, 1]
  for output in outputs:
    assert re.search(
        f'host {culprit} of 2 [(].*[)] failed: ValueError: no such maze',
        output), output
    assert 'left' not in output


@pytest.mark.parametrize('culprit', [0, 1])
def test_a_killed_host_ends_all_and_is_named(runs, culprit):
  codes, outputs = runs[f'kill_{culprit}']
  assert codes[culprit] == -signal.SIGKILL
  survivor = outputs[1 - culprit]
  assert codes[1 - culprit] not in (None, 0), survivor
  # JAX ends it, with its own words. Host 0 runs the coordination service.
  assert re.search(
      'Failed to send RPC to coordination service' if culprit == 0
      else 'stopped sending heartbeats.*\n.*/task:1\\b', survivor), survivor
  assert 'left' not in survivor
  assert node_process.lost_host(survivor) == culprit


def test_a_busy_port_is_refused():
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    with pytest.raises(ValueError, match=f'port {port} .* cannot be used'):
      hosts.join(f'localhost:{port}', 2, 0)
    with pytest.raises(ValueError, match=f'port {port} .* cannot be used'):
      pod.launch(cloning.make_experiment('run'),
                 pod.Host(f'localhost:{port}', 2, 0))


def test_hosts_that_do_not_meet_end(runs):
  [code], [output] = runs['missing']
  assert code == 1
  assert re.search(
      r'not all learner hosts came to localhost:\d+ within 1 s', output), output


def test_one_host_waits_for_itself_alone():
  done = threading.Event()
  with hosts.join('anywhere:1', 1, 0) as group:
    assert (group.index, group.count) == (0, 1)
    assert group.any(True) and not group.any(False)
    np.testing.assert_array_equal(group.all_of([3, 4]), [[3, 4]])
    group.check()
    timer = threading.Timer(0.2, done.set)
    timer.start()
    group.wait(done.is_set)
    assert done.is_set()
    group.stop.set()
    group.wait(lambda: True)  # Returns at once, in spite of the stop.
    with pytest.raises(shutdown.Stopped):
      group.wait(lambda: False)
    with pytest.raises(shutdown.Stopped):
      group.check()


if __name__ == '__main__':
  _main(*sys.argv[1:])
