"""Experiments: the command line, recipes, reports and benchmarks."""
