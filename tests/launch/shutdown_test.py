"""Nodes of a program end when they are told to."""

import os
import subprocess
import sys

_WAIT = '''
import signal, threading, time
from acme_msg.launch import shutdown

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def receive():
  # The main thread is in `wait` by then, or soon: either way it must end.
  time.sleep(1)
  signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
  time.sleep(3600)

threading.Thread(target=receive, daemon=True).start()
shutdown.wait(stop)
print('ended')
'''


def test_a_signal_that_another_thread_receives_ends_the_wait():
  """Python runs handlers in the main thread, which must not sleep for ever."""
  done = subprocess.run(
      [sys.executable, '-c', _WAIT], env=dict(os.environ), check=True,
      capture_output=True, text=True, timeout=600)
  assert done.stdout.endswith('ended\n')
