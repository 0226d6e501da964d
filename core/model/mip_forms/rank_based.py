"""The rank-based form: a binary for each place of each task on its machine (Wagner 1959).

x[i, k] = 1 says that i is the k-th on the machine, and h[k] is when the k-th starts:
``h[k + 1] >= h[k] + sum of p[i] x[i, k]``, and ``S[i] = h[k]`` where x[i, k] = 1, by big-M from the
windows of both (Ku and Beck 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

from parplan.errors import SolverError
from parplan.model.blocks import Value
from parplan.model.choices import total
from parplan.model.guards import component
from parplan.model.mip_forms.lowering import Lowering
from parplan.model.terms import Cumulative, Interval, NoOverlap
from parplan.options import MipForm

MOST_PLACES = 100_000
"""Pairs of a task and a place that a MIP is made for."""


class RankBased(Lowering):
    """Places on machines; for tasks that surely run there, one at a time."""

    form: ClassVar[MipForm] = MipForm.RANK_BASED

    def check_size(self) -> None:
        """Refuse more than ``MOST_PLACES`` places."""
        places = 0
        for block, term in self.terms:
            if isinstance(term, NoOverlap):
                places += len(term.intervals) ** 2
                if places > MOST_PLACES:
                    raise SolverError(
                        f"'{term.name}' of {component(block)} has {len(term.intervals)} intervals; "
                        f"the {self.form.value} form is for up to {MOST_PLACES} places of tasks: "
                        f"use the form '{MipForm.DISJUNCTIVE.value}'",
                        solver="mip",
                    )

    def no_overlap(self, block: Any, term: NoOverlap) -> None:
        """Give every interval a place; one that may be absent, or has no fixed length, has none."""
        intervals = [interval for interval in term.intervals if interval.size != 0]
        for interval in intervals:
            if interval.presence is not None:
                raise self.refuse(block, term, f"'{interval.name}' may be absent")
            if interval.size is None:
                raise self.refuse(block, term, f"'{interval.name}' has no fixed length")
        if len(intervals) > 1:
            self._rank(term.name, intervals)
            self.add_load(intervals)

    def cumulative(self, block: Any, term: Cumulative) -> None:
        """Take what can never exceed the capacity; there are no places for anything else."""
        if sum(term.heights) > term.capacity:
            raise self.refuse(block, term, "several of its intervals may run at the same time")

    def _rank(self, name: str, intervals: Sequence[Interval]) -> None:
        lows = sorted(self.windows.low(i.start) for i in intervals)
        highs = sorted(self.windows.high(i.start) for i in intervals)
        begins = [
            self.block.time(f"{name} {k}", low, high, partial(_kth_start, intervals, k))
            for k, (low, high) in enumerate(zip(lows, highs, strict=True))
        ]
        table = [
            [
                self.block.binary(f"{i.name} is {k}", partial(_is_kth, intervals, n, k))
                for k in range(len(begins))
            ]
            for n, i in enumerate(intervals)
        ]
        for row in (*table, *zip(*table, strict=True)):
            self.state(total(row) == 1)
        for k, (one, two) in enumerate(pairwise(begins)):
            work = total(i.size * row[k] for i, row in zip(intervals, table, strict=True))
            self.state(two >= one + work)
        for interval, row in zip(intervals, table, strict=True):
            for k, there in enumerate(row):
                self._tie(interval.start, begins[k], lows[k], highs[k], there)

    def _tie(self, start: Any, begin: Any, low: int, high: int, there: Any) -> None:
        """State ``start = begin`` where a task is there, by big-M elsewhere."""
        late = max(self.windows.high(start) - low, 0)
        early = max(high - self.windows.low(start), 0)
        self.state(start <= begin + late * (1 - there))
        self.state(begin <= start + early * (1 - there))


def _in_line(intervals: Sequence[Interval], value: Value) -> list[int]:
    """Return the numbers of intervals in the order in which they start."""
    return sorted(range(len(intervals)), key=lambda n: (value(intervals[n].start), n))


def _kth_start(intervals: Sequence[Interval], k: int, value: Value) -> float:
    return value(intervals[_in_line(intervals, value)[k]].start)


def _is_kth(intervals: Sequence[Interval], n: int, k: int, value: Value) -> float:
    return float(_in_line(intervals, value)[k] == n)
