"""Pipelines for trainers of decoder-only models, which move whole layers of a chain."""
