"""Built-in executors of parplan."""
