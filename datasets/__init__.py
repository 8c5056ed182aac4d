"""Datasets: files, validated steps, RLDS, transitions, Reverb chunks."""

from .episodes import from_episodes
from .loading import DataOptions
from .loading import load
from .loading import transition_blocks
from .sources import find
