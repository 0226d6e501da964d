"""Built-in exporters of parplan."""
