"""Built-in runtimes: what executes a plan."""
