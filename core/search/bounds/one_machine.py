"""The preemptive one-machine bound."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-9
"""Part of a bound that is given up for sums of fractions in floating point."""


def secured(bound: float, *inputs: ArrayLike) -> float:
    """Return a bound less what rounding may have added; all of it if it rests on whole numbers.

    Sums of whole numbers below 2**53 are exact.
    """
    whole = all((np.mod(np.asarray(given, dtype=float), 1.0) == 0).all() for given in inputs)
    return bound if whole and abs(bound) < 2**53 else bound * (1 - ROUNDING)


def preemptive_bound(heads: ArrayLike, work: ArrayLike, tails: ArrayLike) -> float:
    """Return the least makespan of one machine that may interrupt its tasks.

    Equals the largest ``least head + work + least tail`` over all subsets of the tasks.

    Parameters
    ----------
    heads, work, tails
        One entry per task: earliest start, time on the machine, least time from its end to the
        end of everything.

    References
    ----------
    Jackson's preemptive schedule: Carlier, "The one-machine sequencing problem", 1982. Complexity
    n log n, n the number of distinct pairs of head and tail.

    Examples
    --------
    >>> preemptive_bound([0, 1], [3, 2], [0, 4])
    7.0
    """
    table = _merge(heads, work, tails)
    ready: list[list[float]] = []
    clock, best, position = 0.0, 0.0, 0
    while position < len(table) or ready:
        if not ready:
            clock = max(clock, table[position][0])
        while position < len(table) and table[position][0] <= clock:
            _, amount, tail = table[position]
            heapq.heappush(ready, [-tail, amount])
            position += 1
        until = table[position][0] if position < len(table) else np.inf
        tail, left = ready[0]
        if clock + left <= until:
            clock += left
            best = max(best, clock - tail)
            heapq.heappop(ready)
        else:
            ready[0][1] = left - (until - clock)
            clock = until
    return secured(float(best), *zip(*table, strict=True))


def _merge(heads: ArrayLike, work: ArrayLike, tails: ArrayLike) -> list[tuple[float, float, float]]:
    """Return tasks by head, those with the same head and tail taken together."""
    keys = np.stack([np.asarray(heads, dtype=float), np.asarray(tails, dtype=float)], axis=1)
    if not len(keys):
        return []  # and the bound is 0
    distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
    sums = np.bincount(inverse.ravel(), weights=np.asarray(work, dtype=float).ravel())
    rows = zip(distinct[:, 0].tolist(), sums.tolist(), distinct[:, 1].tolist(), strict=True)
    return [row for row in rows if row[1] > 0]
