"""Combinatorial lower bounds of the makespan, and of the longest span."""

from parplan.search.bounds.anytime import machine_bounds
from parplan.search.bounds.combine import bounds_for_assignment, combinatorial_bounds
from parplan.search.bounds.deciding import decide_makespan
from parplan.search.bounds.spans import span_bounds

__all__ = [
    "bounds_for_assignment",
    "combinatorial_bounds",
    "decide_makespan",
    "machine_bounds",
    "span_bounds",
]
