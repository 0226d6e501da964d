"""Built-in importers of parplan."""
