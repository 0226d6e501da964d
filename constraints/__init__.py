"""Built-in constraints of parplan."""
