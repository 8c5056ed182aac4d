"""Experiments: the command line, recipes, reports and benchmarks."""

# First, for it quiets the libraries that the others import.
from .. import launch as _
