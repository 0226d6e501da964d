"""Coarsening of any graph: parts of a stated size without cycles, step by step, and back again."""
