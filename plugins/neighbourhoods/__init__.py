"""Neighbourhoods: what of a good schedule a solver does again."""
