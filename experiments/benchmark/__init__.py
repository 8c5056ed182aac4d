"""Measures speed: gradient steps, the way of the data, collectives."""
