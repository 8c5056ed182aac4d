"""Datasets: files, validated steps, RLDS, transitions, Reverb chunks."""

from .delivery import make_resident_dataset
from .delivery import make_stream
from .episodes import from_episodes
from .loading import DataOptions
from .loading import load
from .loading import transition_blocks
from .sources import find

__all__ = (
    'DataOptions',
    'find',
    'from_episodes',
    'load',
    'make_resident_dataset',
    'make_stream',
    'transition_blocks',
)
