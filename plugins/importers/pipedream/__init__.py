"""PipeDream's profiles."""
