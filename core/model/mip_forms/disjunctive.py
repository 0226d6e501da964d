"""The disjunctive form: a binary for the order of each pair (Manne 1960).

order[i, j] = 1 says that start i comes before start j; one binary serves all resources and all
alternatives that share these starts. Big-M are the least that windows and precedences allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

from attrs import frozen

from parplan.errors import SolverError
from parplan.model.blocks import Value
from parplan.model.choices import total
from parplan.model.guards import component
from parplan.model.mip_forms.lowering import Binary, Lowering, optional
from parplan.model.mip_forms.products import absences
from parplan.model.terms import Cumulative, Interval, NoOverlap, Time
from parplan.model.windows import key
from parplan.options import MipForm, MipProducts

MOST_PAIRS = 400_000
"""Pairs of intervals on one resource that a MIP is made for, about 30 s of lowering."""


@frozen(eq=False)
class _Item:
    """An interval of a resource with its height."""

    interval: Interval
    height: int

    @property
    def lasts(self) -> bool:
        """Whether it surely takes some time."""
        return bool(self.interval.size)


class Disjunctive(Lowering):
    """Orders of pairs, and for levels what has started and what is over."""

    form: ClassVar[MipForm] = MipForm.DISJUNCTIVE

    def __init__(self, model: Any, products: MipProducts) -> None:
        super().__init__(model, products)
        self._orders: dict[tuple[object, ...], Binary] = {}
        self._over: dict[tuple[object, ...], Binary] = {}

    def check_size(self) -> None:
        """Refuse more than ``MOST_PAIRS`` pairs of intervals."""
        pairs = 0
        for block, term in self.terms:
            if isinstance(term, NoOverlap | Cumulative):
                count = len(term.intervals)
                pairs += count * (count - 1) // (2 if isinstance(term, NoOverlap) else 1)
                if pairs > MOST_PAIRS:
                    raise SolverError(
                        f"'{term.name}' of {component(block)} has {count} intervals; the "
                        f"MIP needs binaries for more than {MOST_PAIRS} pairs: fix the placement, "
                        "or use a solver for constraint programming, such as cp-sat",
                        solver="mip",
                    )

    @cached_property
    def _rank(self) -> dict[tuple[int, int], int]:
        """Ranks of all starts, so that ties are settled alike everywhere."""
        return self.windows.order(
            interval.start
            for _, term in self.terms
            if isinstance(term, NoOverlap | Cumulative)
            for interval in term.intervals
        )

    # -- one at a time -------------------------------------------------------------------------

    def no_overlap(self, block: Any, term: NoOverlap) -> None:
        """State for each pair that one ends before the other starts."""
        intervals = [i for i in term.intervals if i.size != 0]
        if not all(i.size for i in intervals):
            # An interval that may last nothing clashes with nothing then: that is a level.
            heights = [1] * len(intervals)
            self.cumulative(block, Cumulative(term.name, intervals, heights, 1))
            return
        groups = self._alternatives(intervals)
        for one, two in combinations(groups, 2):
            self._apart(one, two)
        self.add_load(intervals)

    def _alternatives(self, intervals: Sequence[Interval]) -> list[list[Interval]]:
        """Group intervals that share a start and exclude each other."""
        groups: dict[tuple[int, int], list[list[Interval]]] = {}
        for interval in intervals:
            for group in groups.setdefault(key(interval.start), []):
                if all(self.exclude(interval, other) for other in group):
                    group.append(interval)
                    break
            else:
                groups[key(interval.start)].append([interval])
        return [group for found in groups.values() for group in found]

    def _apart(self, one: Sequence[Interval], two: Sequence[Interval]) -> None:
        """State ``S[i] + sum of p x[i] <= S[j] + M (3 - order - X[i] - X[j])`` and its converse."""
        if all(self.exclude(a, b) for a in one for b in two):
            return
        order = self._order(one[0], two[0])
        for first, second, absent in ((one, two, 1 - order), (two, one, order)):
            longest = max(i.size or 0 for i in first)
            start, later = first[0].start, second[0].start
            if self.windows.least_gap(start, later) >= longest:
                continue
            if isinstance(absent, int) and absent == 1:
                continue
            slack = [] if isinstance(absent, int) else [absent]
            slack += [1 - total(i.presence for i in g) for g in (first, second) if optional(g)]
            size = total(i.size if i.presence is None else i.size * i.presence for i in first)
            reach = max(self.windows.high(start) + longest - self.windows.low(later), 0)
            self.state(start + size <= later + (reach * total(slack) if slack else 0))

    def _order(self, first: Interval, second: Interval) -> Binary:
        """Return the binary that ``first`` comes before ``second``; both last, if present."""
        one, two = first.start, second.start
        # With equal starts both would overlap either way; so a start that is surely no later
        # comes before.
        if self.windows.least_gap(one, two) >= 0:
            return 1
        if self.windows.least_gap(two, one) >= 0:
            return 0
        if (key(two), key(one)) in self._orders:
            return 1 - self._orders[key(two), key(one)]
        pair = (key(one), key(two))
        if pair not in self._orders:
            self._orders[pair] = self.block.binary(
                f"{first.name} < {second.name}", lambda value: float(value(one) < value(two))
            )
        return self._orders[pair]

    # -- levels --------------------------------------------------------------------------------

    def cumulative(self, block: Any, term: Cumulative) -> None:
        """State at each start j: what runs then, and j itself, fit into the capacity.

        i runs at the start of j if S[i] <= S[j] (ties by rank, so that the last of several equal
        starts sees all others) and not E[i] <= S[j].
        """
        items = [
            _Item(interval, height)
            for interval, height in zip(term.intervals, term.heights, strict=True)
            if interval.size != 0 and height > 0
        ]
        if sum(item.height for item in items) <= term.capacity:
            return
        self._end_after_start(items)
        items.sort(key=lambda item: self._rank[key(item.interval.start)])
        for j, item in enumerate(items):
            level = [self._own_part(item)]
            for i, other in enumerate(items):
                if i != j and not self.exclude(other.interval, item.interval):
                    active = self._active(other, item, earlier=i < j)
                    if not (isinstance(active, int) and active == 0):
                        level.append(other.height * active)
            self.state(total(level) <= term.capacity)

    def _end_after_start(self, items: Sequence[_Item]) -> None:
        for interval in (item.interval for item in items if item.interval.size is None):
            self.follow(interval.start, interval.end, 0, absences(interval.presence))

    def _own_part(self, item: _Item) -> Any:
        """Return the height of an interval at its own start: nothing if it is absent or empty."""
        interval = item.interval
        if item.lasts or self.windows.least_gap(interval.start, interval.end) > 0:
            return item.height if interval.presence is None else item.height * interval.presence
        return item.height * self._running(interval, 1, self._is_over(interval, interval))

    def _active(self, item: _Item, at: _Item, *, earlier: bool) -> Binary:
        """Return a variable that is at least 1 if ``item`` runs at the start of ``at``."""
        started = self._started(item.interval.start, at.interval.start, earlier=earlier)
        if isinstance(started, int) and started == 0:
            return 0
        return self._running(item.interval, started, self._is_over(item.interval, at.interval))

    def _running(self, interval: Interval, started: Binary, over: Binary) -> Binary:
        """Return ``started and not over and present``, as a variable at least that."""
        if isinstance(over, int) and over == 1:
            return 0
        if interval.presence is None and isinstance(started, int):
            return started - over
        if isinstance(over, int) and interval.presence is None:
            return started
        if isinstance(over, int) and isinstance(started, int):
            return interval.presence
        presence = 1 if interval.presence is None else interval.presence
        parts = (started, over, presence)

        def runs(value: Value) -> float:
            begun, ended, there = (p if isinstance(p, int) else value(p) for p in parts)
            return float(max(0.0, begun - ended + there - 1))

        active = self.block.fraction(f"{interval.name} runs", runs)
        self.block.row(active >= started - over + presence - 1)
        return active

    def _started(self, start: Time, at: Time, *, earlier: bool) -> Binary:
        """Return whether ``start <= at``; of equal times, the ``earlier`` ranked has started."""
        if key(start) == key(at):
            return int(earlier)
        if not earlier:
            return 1 - self._started(at, start, earlier=True)
        if self.windows.least_gap(start, at) >= 0:
            return 1
        if self.windows.least_gap(at, start) >= 1:
            return 0
        pair = ("started", key(start), key(at))
        if pair not in self._over:
            self._over[pair] = self.block.binary(
                f"start {len(self._over)}", lambda value: float(value(start) <= value(at))
            )
            self.follow(start, at, 0, [1 - self._over[pair]])
            self.follow(at, start, 1, [self._over[pair]])
        return self._over[pair]

    def _is_over(self, interval: Interval, at: Interval) -> Binary:
        """Return a binary that may be 1 only if ``interval`` has ended when ``at`` starts."""
        start, size = interval.start, interval.size
        end = interval.end if size is None else start + size
        if self.windows.least_gap(end, at.start) >= 0:
            return 1
        if self.windows.least_gap(at.start, end) >= 1:
            return 0
        pair = ("over", key(end), key(at.start))
        if pair not in self._over:
            later = at.start
            self._over[pair] = self.block.binary(
                f"over {len(self._over)}", lambda value: float(value(end) <= value(later))
            )
            self.follow(end, later, 0, [1 - self._over[pair]])
        return self._over[pair]
