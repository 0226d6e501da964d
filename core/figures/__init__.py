"""Figures of plans, comparisons and runs, each computed once for terminal, page and JSON."""
