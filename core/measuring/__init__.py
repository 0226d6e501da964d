"""Runs as they were: recordings, the costs measured in them, and where they left their plan."""
