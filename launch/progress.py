"""Shows that a run is alive, how fast it is and when it will be done."""

import datetime
import threading
import time


class Progress:
  """Prints a line every few seconds, whatever the main thread is busy with.

  A context manager: lines appear while it is entered.

  Attributes:
    quiet: whether nothing is printed, as another host does that already.
  """

  def __init__(self, total: int, period: float = 10.):
    """Initializes it.

    Args:
      total: gradient steps of the whole run.
      period: seconds between lines.
    """
    self._total = total
    self._period = period
    self.quiet = False
    self._phase = ''
    self._since = time.time()
    self._done = 0
    self._last = (self._since, 0)
    self._note = ''
    self._ended = threading.Event()

  def __enter__(self) -> 'Progress':
    threading.Thread(target=self._run, daemon=True).start()
    return self

  def __exit__(self, *unused_error) -> None:
    self._ended.set()

  def say(self, message: str) -> None:
    """Prints a line at once."""
    if not self.quiet:
      print(f'[learner] {message}', flush=True)

  def wait_for(self, phase: str) -> None:
    """Begins something that takes time but has no steps, and says so."""
    self._phase, self._since = phase, time.time()
    self.say(f'{phase} ...')

  def train(self, done: int, note: str = '') -> None:
    """Sets the gradient steps done so far, and what to show beside them."""
    if self._phase:
      self._last = (time.time(), done)  # Compiling is no measure of speed.
    self._phase, self._done, self._note = '', done, note

  def line(self) -> str:
    """Returns the current state in one line."""
    now = time.time()
    if self._phase:
      return f'{self._phase} ... {now - self._since:.0f} s'
    then, done_then = self._last
    speed = (self._done - done_then) / max(now - then, 1e-9)
    self._last = (now, self._done)
    left = 'unknown'
    if speed > 0:
      left = str(datetime.timedelta(
          seconds=round((self._total - self._done) / speed)))
    parts = [f'{self._done:,}/{self._total:,} gradient steps',
             f'{speed:,.0f} steps/s', f'ETA {left}', self._note]
    return ' | '.join(part for part in parts if part)

  def _run(self) -> None:
    while not self._ended.wait(self._period):
      if self._phase or self._done:
        self.say(self.line())
