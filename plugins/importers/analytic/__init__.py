"""Transformers by formula: work and bytes of every layer, from a ``config.json``."""
