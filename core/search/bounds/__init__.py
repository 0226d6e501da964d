"""Combinatorial lower bounds of the makespan."""

from parplan.search.bounds.anytime import machine_bounds
from parplan.search.bounds.combine import bounds_for_assignment, combinatorial_bounds
from parplan.search.bounds.deciding import decide_makespan

__all__ = [
    "bounds_for_assignment",
    "combinatorial_bounds",
    "decide_makespan",
    "machine_bounds",
]
