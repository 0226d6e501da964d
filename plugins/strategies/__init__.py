"""Built-in strategies of parplan."""
