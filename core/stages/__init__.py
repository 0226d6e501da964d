"""A plan as a program of pipeline stages: what a runtime that executes stages can be told."""
