"""Agents; each in the shape of an Acme agent."""
