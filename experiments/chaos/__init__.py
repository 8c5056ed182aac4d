"""Programs that disturb and watch runs, and compare their results."""
