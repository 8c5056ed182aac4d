"""Optional launchers: terminals and Vertex AI."""
