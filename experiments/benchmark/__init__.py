"""Measures the speed of gradient steps and of data, and counts collectives."""
