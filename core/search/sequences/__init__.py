"""Search on sequences: the order on every machine, and times by longest path."""
