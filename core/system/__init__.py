"""What Python and the machine are asked for: compiling, processes, signals, memory, extras."""
