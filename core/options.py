"""How to search: which solver, how long, how good."""

from __future__ import annotations

import math

from attrs import frozen

from parplan.errors import InputError


@frozen
class SearchOptions:
    """What a search may use.

    Attributes
    ----------
    solver
        Name of a solver backend; empty lets parplan choose (CP-SAT where installed).
        ``"list"`` uses the list scheduler alone.
    time_limit_s
        Seconds for the whole search.
    gap
        Stop when the proven gap is at most this part of the value.
    workers
        Processes or threads that may run at the same time.
    seed
        Of everything random.
    """

    solver: str = ""
    time_limit_s: float = 60.0
    gap: float = 0.0
    workers: int = 2
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        if not math.isfinite(self.time_limit_s) or self.time_limit_s <= 0:
            raise InputError(
                f"{self.time_limit_s} is no time limit; give seconds above zero",
                key="search.time_limit_s",
            )
        if not 0 <= self.gap < 1:
            raise InputError(f"{self.gap} is no gap; give 0 up to 1", key="search.gap")
        if self.workers < 1:
            raise InputError(f"{self.workers} workers; at least 1", key="search.workers")
