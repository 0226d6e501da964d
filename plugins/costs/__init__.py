"""Built-in costs of parplan."""
