"""Profiles of a model in one process: read, and joined to the operators of its graph."""
