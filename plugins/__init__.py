"""Built-in plugins of parplan."""
