"""Lowers recorded terms to linear rows and binaries, on a Block of their own, for any MIP solver.

order[i, j] = 1 says that start i comes before start j; one binary serves all resources and all
alternatives that share these starts. Big-M are the least that windows and precedences allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

from attrs import frozen

from parplan.collector import collector_paused
from parplan.errors import SolverError
from parplan.model.blocks import Definition, RuleBlock, Value
from parplan.model.choices import total
from parplan.model.guards import component
from parplan.model.terms import (
    AtMostOne,
    Before,
    Cumulative,
    Interval,
    Literal,
    NoOverlap,
    Term,
    Time,
    recorded,
)
from parplan.model.windows import Windows, key

NAME = "mip_lowering"

MOST_PAIRS = 400_000
"""Pairs of intervals on one resource that a MIP is made for, about 30 s of lowering."""

Binary = Any
"""A binary variable, or 0 or 1 where it is certain."""


@frozen(eq=False)
class Lowered:
    """What lowering has added to a model: its Block, and how its variables follow from others."""

    block: RuleBlock
    definitions: Sequence[tuple[Any, Definition]]


@contextmanager
def lowered(model: Any) -> Iterator[Lowered]:
    """Add a MIP form of the recorded terms to a Pyomo model, and take it away at the end.

    Raises
    ------
    SolverError
        If a term speaks of a time without finite bounds, is not known, or if there are too many
        pairs of intervals.
    """
    lowering = _Lowering(model)
    try:
        lowering.check_size()
        with collector_paused():
            lowering.lower()
        yield Lowered(lowering.block, lowering.definitions)
    finally:
        model.del_component(NAME)


@frozen(eq=False)
class _Item:
    """An interval of a resource with its height."""

    interval: Interval
    height: int

    @property
    def lasts(self) -> bool:
        """Whether it surely takes some time."""
        return bool(self.interval.size)


class _Lowering:
    def __init__(self, model: Any) -> None:
        self.terms: list[tuple[Any, Term]] = list(recorded(model))
        self.windows = Windows(term for _, term in self.terms)
        self.makespan = model.component("makespan")
        self.definitions: list[tuple[Any, Definition]] = []
        self.block = RuleBlock("mip", self.definitions)
        model.add_component(NAME, self.block)
        self._orders: dict[tuple[object, ...], Binary] = {}
        self._over: dict[tuple[object, ...], Binary] = {}
        self._exclusive: dict[int, set[int]] = {}

    def check_size(self) -> None:
        """Refuse what would take minutes to write, and far longer to solve."""
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

    def lower(self) -> None:
        """Write every term."""
        for _, term in self.terms:
            if isinstance(term, AtMostOne):
                self._at_most_one(term)
        starts = [
            interval.start
            for _, term in self.terms
            if isinstance(term, NoOverlap | Cumulative)
            for interval in term.intervals
        ]
        self._rank = self.windows.order(starts)
        for block, term in self.terms:
            if isinstance(term, Before):
                self._before(term)
            elif isinstance(term, NoOverlap):
                self._no_overlap(term)
            elif isinstance(term, Cumulative):
                self._cumulative(term)
            elif not isinstance(term, AtMostOne):
                raise SolverError(
                    f"cannot take the term {term!r} of {component(block)}", solver="mip"
                )

    # -- simple terms --------------------------------------------------------------------------

    def _at_most_one(self, term: AtMostOne) -> None:
        literals = [x for x in term.literals if x is not None]
        numbers = {id(x) for x in literals}
        for number in numbers:
            self._exclusive.setdefault(number, set()).update(numbers - {number})
        if len(literals) > 1:
            self.block.row(total(literals) <= 1)

    def _before(self, term: Before) -> None:
        """State ``end + delay <= start``, relaxed by big-M where one of the two is absent."""
        absences = _absences(term.first.presence, term.second.presence)
        self._follow(term.first.end, term.second.start, term.delay, absences)

    def _follow(self, earlier: Time, later: Time, delay: int, slack: Sequence[Any]) -> None:
        """State ``earlier + delay <= later`` unless one of the ``slack`` terms is 1."""
        if self.windows.least_gap(earlier, later) >= delay and slack:
            return
        reach = self.windows.high(earlier) + delay - self.windows.low(later)
        if slack and reach <= 0:
            return
        self._state(earlier + delay <= later + (reach * total(slack) if slack else 0))

    def _state(self, row: Any) -> None:
        """Add a row; one without variables is judged here, and made impossible if it is false."""
        if row is True or row is False:
            if not row:
                never = self.block.binary("impossible", lambda _: 0.0)
                self.block.row(never >= 1)
                self.block.row(never <= 0)
            return
        self.block.row(row)

    # -- one at a time -------------------------------------------------------------------------

    def _no_overlap(self, term: NoOverlap) -> None:
        """State for each pair that one ends before the other starts."""
        intervals = [i for i in term.intervals if i.size != 0]
        if not all(i.size for i in intervals):
            # An interval that may last nothing clashes with nothing then: that is a level.
            heights = [1] * len(intervals)
            self._cumulative(Cumulative(term.name, intervals, heights, 1))
            return
        groups = self._alternatives(intervals)
        for one, two in combinations(groups, 2):
            self._apart(one, two)
        self._add_load(intervals)

    def _alternatives(self, intervals: Sequence[Interval]) -> list[list[Interval]]:
        """Group intervals that share a start and exclude each other."""
        groups: dict[tuple[int, int], list[list[Interval]]] = {}
        for interval in intervals:
            for group in groups.setdefault(key(interval.start), []):
                if all(self._exclude(interval, other) for other in group):
                    group.append(interval)
                    break
            else:
                groups[key(interval.start)].append([interval])
        return [group for found in groups.values() for group in found]

    def _exclude(self, one: Interval, two: Interval) -> bool:
        if one.presence is None or two.presence is None:
            return False
        return id(two.presence) in self._exclusive.get(id(one.presence), ())

    def _apart(self, one: Sequence[Interval], two: Sequence[Interval]) -> None:
        """State ``S[i] + sum of p x[i] <= S[j] + M (3 - order - X[i] - X[j])`` and its converse."""
        if all(self._exclude(a, b) for a in one for b in two):
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
            slack += [1 - total(i.presence for i in g) for g in (first, second) if _optional(g)]
            size = total(i.size if i.presence is None else i.size * i.presence for i in first)
            reach = max(self.windows.high(start) + longest - self.windows.low(later), 0)
            self._state(start + size <= later + (reach * total(slack) if slack else 0))

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

    def _add_load(self, intervals: Sequence[Interval]) -> None:
        """State ``head + sum of p x + tail <= makespan`` over what surely ends by the makespan."""
        if self.makespan is None or self.makespan not in self.windows:
            return
        tails = {id(i): self.windows.least_gap(i.end, self.makespan) for i in intervals}
        counted = [i for i in intervals if tails[id(i)] >= 0]
        if len(counted) < 2:
            return
        head = min(self.windows.low(i.start) for i in counted)
        tail = min(tails[id(i)] for i in counted)
        work = total(i.size * i.presence if i.presence is not None else i.size for i in counted)
        self._state(self.makespan >= head + tail + work)

    # -- levels --------------------------------------------------------------------------------

    def _cumulative(self, term: Cumulative) -> None:
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
                if i != j and not self._exclude(other.interval, item.interval):
                    active = self._active(other, item, earlier=i < j)
                    if not (isinstance(active, int) and active == 0):
                        level.append(other.height * active)
            self._state(total(level) <= term.capacity)

    def _end_after_start(self, items: Sequence[_Item]) -> None:
        for interval in (item.interval for item in items if item.interval.size is None):
            self._follow(interval.start, interval.end, 0, _absences(interval.presence))

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
            self._follow(start, at, 0, [1 - self._over[pair]])
            self._follow(at, start, 1, [self._over[pair]])
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
            self._follow(end, later, 0, [1 - self._over[pair]])
        return self._over[pair]


def _absences(*presences: Literal) -> list[Any]:
    return [1 - x for x in presences if x is not None]


def _optional(group: Sequence[Interval]) -> bool:
    return all(interval.presence is not None for interval in group)
