"""Walks: the device of every block of a chain, timed and annealed as whole pipelines."""
