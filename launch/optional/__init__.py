"""Launchers off the main road: terminals and Vertex AI."""
