"""Built-in solvers of parplan."""
