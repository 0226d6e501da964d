"""Benchmarks of parplan: ``python -m benchmarks SUITE``; see docs/how-to/benchmarks.md."""
