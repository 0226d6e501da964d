"""Built-in objectives of parplan."""
