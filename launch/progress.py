"""Shows a run's progress, its speed and the remaining time."""

import datetime
import threading
import time
from typing import Optional, Tuple

import rich.console
import rich.live
import rich.text


class _Console(rich.console.Console):
  """Leaves the cursor visible: a killed process could not show it again."""

  def show_cursor(self, show: bool = True) -> bool:
    return False


class Progress:
  """Shows the state of a run from a background thread.

  A context manager. While it is entered, a terminal shows one line that is
  updated, below everything else that this process prints; a file or a pipe gets
  a new line every `period` seconds.
  """

  def __init__(self, total: int, quiet: bool = False, period: float = 10.):
    """Initializes it.

    Args:
      total: gradient steps of the whole run.
      quiet: shows nothing, because another host does.
      period: seconds between lines, and over which speed is measured.
    """
    self._total = total
    self._quiet = quiet
    self._period = period
    self._phase = ''
    self._since = time.time()
    self._done = 0
    self._last = (self._since, 0)
    self._speed = 0.
    self._note = ''
    self._stepped = self._since  # When the last step was done.
    self._awaited: Optional[Tuple[str, float]] = None
    self._ended = threading.Event()
    self._live: Optional[rich.live.Live] = None

  def __enter__(self) -> 'Progress':
    console = _Console(highlight=False, markup=False)
    if self._quiet:
      pass
    elif console.is_terminal:
      # Prints of this process go above the line; tracebacks keep their stream.
      self._live = rich.live.Live(
          console=console, get_renderable=self._one_line, transient=True,
          redirect_stderr=False)
      self._live.start()
    else:
      threading.Thread(target=self._print_lines, daemon=True).start()
    return self

  def __exit__(self, *unused_error) -> None:
    self._ended.set()
    if self._live:
      self._live.stop()

  def say(self, message: str) -> None:
    """Prints a line at once."""
    if not self._quiet:
      print(f'[learner] {message}', flush=True)

  def wait_for(self, phase: str) -> None:
    """Begins a phase that takes time but has no steps, and says so."""
    self._phase, self._since = phase, time.time()
    self.say(f'{phase} ...')

  def waits_for(self, what: str) -> None:
    """Sets what the training waits for; '' if it does not wait.

    It is given as text: a function that takes a lock could wait here for a
    thread that prints, which waits for the line to be shown.
    """
    since = self._awaited[1] if self._awaited else time.time()
    self._awaited = (what, since) if what else None

  def train(self, done: int, note: str = '') -> None:
    """Sets the gradient steps done so far, and a note to show beside them."""
    if self._phase:
      self._last = (time.time(), done)  # The first step also compiles.
    self._stepped = time.time()
    self._phase, self._done, self._note = '', done, note

  def line(self) -> str:
    """Returns the current state in one line."""
    now = time.time()
    awaited = ''
    if waiting := self._awaited:
      what, since = waiting
      awaited = f'waiting for {what}, {_since(since, now)}'
    if self._phase:
      return ' | '.join(filter(None, [
          f'{self._phase} ... {_since(self._since, now)}', awaited]))
    then, done_then = self._last
    if not self._speed or now - then >= self._period:
      self._speed = (self._done - done_then) / max(now - then, 1e-9)
    if now - then >= self._period:
      self._last = (now, self._done)
    left = 'unknown'
    if self._speed > 0:
      left = str(datetime.timedelta(
          seconds=round((self._total - self._done) / self._speed)))
    elif now - self._stepped > self._period:
      left += f', no learner step {_since(self._stepped, now)}'
    parts = [f'{self._done:,}/{self._total:,} gradient steps',
             f'{self._speed:,.0f}/s', awaited or f'ETA {left}', self._note]
    return ' | '.join(part for part in parts if part)

  def _one_line(self) -> rich.text.Text:
    text = f'[learner] {self.line()}' if self._phase or self._done else ''
    return rich.text.Text(text, no_wrap=True, overflow='ellipsis')

  def _print_lines(self) -> None:
    while not self._ended.wait(self._period):
      if self._phase or self._done:
        self.say(self.line())


def _since(then: float, now: float) -> str:
  """Returns a time and how long ago it was."""
  return (f'since {datetime.datetime.fromtimestamp(then):%H:%M:%S} '
          f'({now - then:.0f} s)')
