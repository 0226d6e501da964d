"""The time-indexed form: a binary for each start of each task (Bowman 1959; Ku and Beck 2016).

x[i, t] = 1 says that i starts at t: ``sum of x[i, t] = presence of i``, and where it is present
``S[i] = sum of t x[i, t]``. At every tick, ``sum of height x[i, u] over t - p[i] < u <= t`` is
within the capacity. The relaxation is strong, and as large as the horizon is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from parplan.errors import SolverError
from parplan.model.blocks import Value
from parplan.model.guards import component
from parplan.model.mip_forms.lowering import Lowering
from parplan.model.terms import Cumulative, Interval, NoOverlap
from parplan.model.windows import key
from parplan.options import MipForm

MOST_ENTRIES = 1_000_000
"""Entries of the rows over time that a MIP is made for."""

Column = dict[int, Any]
"""The binary of each tick at which an interval may start."""


class TimeIndexed(Lowering):
    """Starts by the tick; for intervals of fixed length, which may be absent."""

    form: ClassVar[MipForm] = MipForm.TIME_INDEXED

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._columns: dict[tuple[object, ...], Column] = {}

    def check_size(self) -> None:
        """Refuse more than ``MOST_ENTRIES`` entries in the rows over time."""
        entries = 0
        for block, term in self.terms:
            if isinstance(term, NoOverlap | Cumulative):
                entries += sum((i.size or 0) * self._ticks(i) for i in term.intervals)
                if entries > MOST_ENTRIES:
                    raise SolverError(
                        f"'{term.name}' of {component(block)} reaches over too many ticks; the "
                        f"{self.form.value} form is for up to {MOST_ENTRIES} entries of ticks: use "
                        f"the form '{MipForm.DISJUNCTIVE.value}'",
                        solver="mip",
                    )

    def _ticks(self, interval: Interval) -> int:
        return self.windows.high(interval.start) - self.windows.low(interval.start) + 1

    def no_overlap(self, block: Any, term: NoOverlap) -> None:
        """State for every tick that one interval runs at most."""
        intervals = self._lasting(block, term, term.intervals)
        self._fill(intervals, [1] * len(intervals), 1)
        self.add_load(intervals)

    def cumulative(self, block: Any, term: Cumulative) -> None:
        """State for every tick that what runs fits into the capacity."""
        pairs = [
            (i, h)
            for i, h in zip(term.intervals, term.heights, strict=True)
            if i.size != 0 and h > 0
        ]
        if sum(h for _, h in pairs) > term.capacity:
            intervals = self._lasting(block, term, [i for i, _ in pairs])
            self._fill(intervals, [h for _, h in pairs], term.capacity)

    def _lasting(
        self, block: Any, term: NoOverlap | Cumulative, intervals: Sequence[Interval]
    ) -> list[Interval]:
        found = [interval for interval in intervals if interval.size != 0]
        for interval in found:
            if interval.size is None:
                raise self.refuse(block, term, f"'{interval.name}' has no fixed length")
        return found

    def _fill(self, intervals: Sequence[Interval], heights: Sequence[int], capacity: int) -> None:
        """State the capacity at every tick at which several intervals may run."""
        levels: dict[int, list[Any]] = {}
        users: dict[int, int] = {}
        for interval, height in zip(intervals, heights, strict=True):
            column, size = self._column(interval), interval.size or 0
            running: set[int] = set()
            for start, there in column.items():
                for tick in range(start, start + size):
                    levels.setdefault(tick, []).append(height * there)
                    running.add(tick)
            for tick in running:
                users[tick] = users.get(tick, 0) + height
        for tick, level in levels.items():
            if users[tick] > capacity:
                self.state(sum(level) <= capacity)

    def _column(self, interval: Interval) -> Column:
        """Return the starts of an interval, shared by all that have its start and presence."""
        name = (key(interval.start), id(interval.presence))
        if name not in self._columns:
            self._columns[name] = self._make(interval)
        return self._columns[name]

    def _make(self, interval: Interval) -> Column:
        start, there = interval.start, interval.presence
        low, high = self.windows.low(start), self.windows.high(start)
        column = {
            t: self.block.binary(f"{interval.name} at {t}", partial(_starts_at, start, there, t))
            for t in range(low, high + 1)
        }
        self.state(sum(column.values()) == (1 if there is None else there))
        when = sum(t * x for t, x in column.items())
        if there is None:
            self.state(start == when)
        else:
            self.state(start >= when + low * (1 - there))
            self.state(start <= when + high * (1 - there))
        return column


def _starts_at(start: Any, there: Any, t: int, value: Value) -> float:
    return float(round(value(start)) == t and (there is None or value(there) > 0.5))
