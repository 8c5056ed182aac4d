"""Moves a dataset from where it was read to the learners."""
