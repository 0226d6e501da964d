"""Pipelines as people write them, and tools to construct their orders."""
