"""Datasets: files, validated steps, RLDS, transitions, Reverb chunks."""
