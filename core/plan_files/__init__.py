"""Plans, problems and graphs as files."""
