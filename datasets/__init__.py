"""Datasets: files, validated steps, RLDS, transitions, Reverb chunks."""

from .episodes import from_episodes
from .selection import DataOptions
from .selection import load
from .selection import transition_blocks
from .sources import find
