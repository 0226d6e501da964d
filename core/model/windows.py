"""What is certain about times: windows, and least distances by longest paths.

Both come from the bounds of variables and from precedences that hold in every solution; they keep
big-M small and spare binaries for pairs whose order is settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parplan.errors import SolverError
from parplan.model.guards import component, intervals_of
from parplan.model.terms import Before, Interval, Term, Time, split

FAR = -(2**60)
"""Distance of what is not related."""

LARGEST_CLOSURE = 700
"""Up to this many variables all pairs are related: O(n^3), about a second there."""


class Windows:
    """Earliest and latest values of times, and least differences between them.

    Raises
    ------
    SolverError
        If a time has no finite bounds; names it and its rule.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        self._index: dict[int, int] = {}
        self._variables: list[Any] = []
        arcs: list[tuple[int, int, int]] = []
        for term in terms:
            for interval in intervals_of(term):
                self._note(interval, arcs)
            if isinstance(term, Before):
                self._note_before(term, arcs)
        bounds = [_bounds(v) for v in self._variables]
        self._low = np.array([low for low, _ in bounds], dtype=np.int64)
        self._high = np.array([high for _, high in bounds], dtype=np.int64)
        self._distance = self._close(arcs)

    def _note(self, interval: Interval, arcs: list[tuple[int, int, int]]) -> None:
        """Give numbers to an interval's variables; a certain one does not end before it starts."""
        ends = []
        for time in (interval.start, interval.end):
            variable, constant = split(time)
            if variable is None:
                continue
            if id(variable) not in self._index:
                self._index[id(variable)] = len(self._variables)
                self._variables.append(variable)
            ends.append((self._index[id(variable)], constant))
        if len(ends) == 2 and interval.presence is None and ends[0][0] != ends[1][0]:
            (u, a), (v, b) = ends
            arcs.append((u, v, a - b + (interval.size or 0)))

    def _note_before(self, term: Before, arcs: list[tuple[int, int, int]]) -> None:
        if term.first.presence is None and term.second.presence is None:
            (u, a), (v, b) = split(term.first.end), split(term.second.start)
            if u is not None and v is not None and u is not v:
                arcs.append((self._index[id(u)], self._index[id(v)], a + term.delay - b))

    def _close(self, arcs: list[tuple[int, int, int]]) -> NDArray[np.int64] | None:
        """Return longest paths between all variables, and tighten the windows by them."""
        count = len(self._variables)
        if count > LARGEST_CLOSURE:
            return None
        distance = np.full((count, count), FAR, dtype=np.int64)
        for u, v, length in arcs:
            distance[u, v] = max(distance[u, v], length)
        np.fill_diagonal(distance, 0)
        for k in range(count):
            through = distance[:, k, None] + distance[None, k, :]
            np.maximum(distance, through, out=distance)
            np.maximum(distance, FAR, out=distance)
        if count:
            low = (self._low[:, None] + distance).max(axis=0)
            high = (self._high[None, :] - distance).min(axis=1)
            self._low, self._high = np.maximum(self._low, low), np.minimum(self._high, high)
        return distance

    def __contains__(self, variable: object) -> bool:
        """Return whether any term speaks of a variable."""
        return id(variable) in self._index

    def low(self, time: Time) -> int:
        """Return the earliest value a time may have."""
        variable, constant = split(time)
        return constant + (0 if variable is None else int(self._low[self._index[id(variable)]]))

    def high(self, time: Time) -> int:
        """Return the latest value a time may have."""
        variable, constant = split(time)
        return constant + (0 if variable is None else int(self._high[self._index[id(variable)]]))

    def least_gap(self, earlier: Time, later: Time) -> int:
        """Return the least value of ``later - earlier``."""
        gap = self.low(later) - self.high(earlier)
        (u, a), (v, b) = split(earlier), split(later)
        if u is not None and v is not None:
            if u is v:
                return b - a
            if self._distance is not None:
                known = int(self._distance[self._index[id(u)], self._index[id(v)]])
                gap = max(gap, known + b - a)
        return gap

    def order(self, times: Iterable[Time]) -> dict[tuple[int, int], int]:
        """Return ranks of times by ``key``, such that what surely comes no later ranks lower.

        The number of times that surely come no later is such a rank, since that relation is
        transitive; ties go by the order given.
        """
        distinct = list({key(t): t for t in times}.items())
        before = [sum(self.least_gap(u, t) >= 0 for _, u in distinct) for _, t in distinct]
        by_rank = sorted(range(len(distinct)), key=lambda n: (before[n], n))
        return {distinct[n][0]: rank for rank, n in enumerate(by_rank)}


def key(time: Time) -> tuple[int, int]:
    """Return what identifies a time: its variable and its constant."""
    variable, constant = split(time)
    return (0 if variable is None else id(variable), constant)


def _bounds(variable: Any) -> tuple[int, int]:
    low, high = variable.bounds
    if variable.fixed:
        low = high = variable.value
    if low is None or high is None:
        raise SolverError(
            f"{component(variable)} is a time without finite bounds; give it both", solver="mip"
        )
    return int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9))
