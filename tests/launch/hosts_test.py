"""Tests of how hosts join, agree and fail: real processes on this machine.

As a program this file is one of two hosts:
`python hosts_test.py <scenario> <index> <port>`.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time

from acme_msg.launch import hosts
from acme_msg.launch import shutdown

import numpy as np
import portpicker
import pytest

# How long anything may take on a busy machine before it counts as hanging.
_TIMEOUT = 900


def _agree(group):
  """Everything that hosts do together, up to a stop that one is told."""
  np.testing.assert_array_equal(
      group.all_of([group.index, 5]), [[0, 5], [1, 5]])
  assert group.any(group.index == 1) and not group.any(False)
  since = time.time()
  group.wait(lambda: group.index == 1 or time.time() > since + 1)
  assert time.time() > since + 1  # Though this may be the one that was done.
  if group.index == 1:
    os.kill(os.getpid(), signal.SIGTERM)
  with pytest.raises(shutdown.Stopped):
    group.wait(lambda: False)
  with pytest.raises(shutdown.Stopped):
    group.check()


def _main(scenario, index, port):
  stop = threading.Event()
  signal.signal(signal.SIGTERM, lambda *_: stop.set())
  if scenario == 'environment':
    hosts.join()
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


def _run(scenario):
  """Runs two hosts to their end; returns their exit codes and outputs."""
  port = portpicker.pick_unused_port()
  processes = [_start(scenario, index, port) for index in range(2)]
  try:
    outputs = [process.communicate(timeout=_TIMEOUT)[0]
               for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [process.returncode for process in processes], outputs


def test_hosts_agree_and_leave():
  codes, outputs = _run('agree')
  assert codes == [0, 0], outputs
  for index, output in enumerate(outputs):
    assert f'learner host {index} of 2' in output
    assert 'left' in output


@pytest.mark.parametrize('scenario, message', [
    ('fail_0', 'learner host 0 of 2 [(].*[)] failed: ValueError: no such maze'),
    ('fail_1', 'learner host 1 of 2 [(].*[)] failed: ValueError: no such maze'),
    ('kill_1', 'learner host 1 of 2 [(].*[)] was lost: no sign of life')])
def test_all_hosts_end_with_one_and_name_it(scenario, message):
  codes, outputs = _run(scenario)
  culprit = int(scenario[-1])
  assert codes[1 - culprit] == 1
  for code, output in zip(codes, outputs):
    if code != -signal.SIGKILL:
      assert re.search(message, output), output
    assert 'left' not in output


def test_hosts_end_when_the_first_is_killed():
  codes, outputs = _run('kill_0')
  # JAX ends the others at once, with its own words.
  assert codes[0] == -signal.SIGKILL and codes[1] not in (None, 0)
  assert re.search('coordination service|learner host 0 of 2', outputs[1])


@pytest.mark.parametrize('scenario, message', [
    ('missing', r'not all learner hosts came to localhost:\d+ within 1 s'),
    ('environment', 'environment does not tell which hosts there are')])
def test_hosts_that_do_not_meet_end(scenario, message):
  process = _start(scenario, 0, portpicker.pick_unused_port())
  output, _ = process.communicate(timeout=_TIMEOUT)
  assert process.returncode == 1
  assert re.search(message, output), output


@pytest.mark.parametrize('arguments, message', [
    (dict(num_processes=2), 'coordinator_address and process_id must be given'),
    (dict(coordinator_address='a:1', num_processes=2, process_id=2),
     'process_id=2 must be at least 0 and less than num_processes=2'),
    (dict(coordinator_address='a', num_processes=2, process_id=1),
     "coordinator_address='a' must be 'host:port'")])
def test_bad_arguments_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    hosts.join(**arguments)


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
    group.wait(lambda: True)  # What is done needs no waiting.
    with pytest.raises(shutdown.Stopped):
      group.wait(lambda: False)
    with pytest.raises(shutdown.Stopped):
      group.check()


if __name__ == '__main__':
  _main(*sys.argv[1:])
