"""Tests the program that starts and stops programs."""

from acme_msg.experiments.chaos import starts
import pytest


@pytest.mark.parametrize('by_signal', [False, True])
def test_a_program_starts_and_stops(by_signal):
  assert 0 < starts.start_and_stop(by_signal, delay=1.) < 600
