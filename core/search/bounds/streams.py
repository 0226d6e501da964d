"""A problem as streams of alike tasks, each known by its place in the order of starts.

A *stream* is all microbatches of one column of one operator. Its k-th start is the k-th smallest
of their starts, whichever microbatch that is. If each microbatch's ``b`` starts at least a lag
after its ``a``, then so does the k-th ``b`` after the k-th ``a``; and what is held from ``a`` to
the end of ``b`` is, at any instant, as often there as ``a`` was begun less how often ``b`` has
ended. So nothing is assumed about the order of microbatches, and alike ones are never told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import permutations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.forced import Activity, column_pairs
from parplan.search.bounds.instance import Array
from parplan.search.bounds.memory import Hold, Reach, Task, comparable
from parplan.search.bounds.paths import Windows
from parplan.search.bounds.sure import Sure

Index = NDArray[np.int64]

MOST_TASKS = 100_000
"""A problem with more tasks has no streams: the bounds from them are left out."""

MOST_MEMBERS = 32
"""Streams of a machine all of whose orders are looked for; of one with more, only arcs are."""

EVER = 2**60
"""Later than any time."""


@frozen(eq=False)
class Room:
    """Memory of one machine as its k streams fill it.

    Attributes
    ----------
    begun, ended
        What the start of a task of each stream takes, and what its end gives back, ``(k,)``.
    running
        What a task takes while it runs, ``(k,)``.
    capacity
        What there is.
    """

    begun: Array
    ended: Array
    running: Array
    capacity: float

    @property
    def key(self) -> object:
        """Equal for equal rooms."""
        return *(a.tobytes() for a in (self.begun, self.ended, self.running)), self.capacity


@frozen(eq=False)
class Machine:
    """A resource that runs one task at a time, and the streams that surely run on it.

    Attributes
    ----------
    members
        Indices of streams, ``(k,)``.
    before
        Pairs (i, j) of positions in ``members``: a microbatch's i ends before its j starts,
        directly or with tasks elsewhere in between.
    rooms
        The memories that the members fill.
    """

    members: Index
    before: tuple[tuple[int, int], ...]
    rooms: tuple[Room, ...]

    @property
    def key(self) -> object:
        """Equal for machines that differ in their members only."""
        return self.before, tuple(room.key for room in self.rooms)


@frozen(eq=False)
class Streams:
    """All S streams of a problem; E tasks in all, those of a stream next to each other.

    Attributes
    ----------
    counts, ticks
        Tasks of each stream and the least duration of one, ``(S,)``.
    first
        Index of the first task of each stream, ``(S,)``.
    heads, tails
        Least start, and least time from the end to the end of the schedule, ``(S,)``.
    before, after, lags
        Task ``after`` starts no earlier than ``lag`` ticks after task ``before`` does. Sorted, so
        that all arcs into a task stand before all arcs out of it.
    machines
        Machines, none with the same members as another.
    """

    counts: Index
    ticks: Index
    first: Index
    heads: Index
    tails: Index
    before: Index
    after: Index
    lags: Index
    machines: tuple[Machine, ...]

    def tasks_of(self, stream: int) -> Index:
        """Return the indices of the tasks of a stream."""
        first = int(self.first[stream])
        return np.arange(first, first + int(self.counts[stream]), dtype=np.int64)

    @cached_property
    def final(self) -> frozenset[int]:
        """Streams that run on one machine only, and that no other stream waits for."""
        stream_of = np.repeat(np.arange(len(self.counts)), self.counts)
        source, target = stream_of[self.before], stream_of[self.after]
        waited_for = set(source[source != target].tolist())
        seen = np.zeros(len(self.counts), dtype=np.int64)
        for machine in self.machines:
            seen[machine.members] += 1
        return frozenset(set(np.flatnonzero(seen == 1).tolist()) - waited_for)


def find_streams(sure: Sure) -> Streams | None:
    """Return the streams of a problem; None if it has too many tasks or no sure machine."""
    windows, instance = sure.windows, sure.instance
    tasks = [(o, row) for o in instance.order for row in range(len(instance.columns_of(o)))]
    counts = np.array([instance.columns_of(o)[row].count for o, row in tasks], dtype=np.int64)
    if counts.sum() > MOST_TASKS:
        return None
    alone = sure.machines.values()
    if not alone:
        return None
    index = {task: i for i, task in enumerate(tasks)}
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    ticks = np.array([_least_ticks(windows, task) for task in tasks], dtype=np.int64)
    before, after, lags = _arcs(windows, sure.reach, index, counts, first, ticks)
    order = np.argsort(before, kind="stable")
    groups = sorted({tuple(sorted(index[a.task] for a in one if a.task)) for one in alone})
    machines = []
    for group in groups:
        place = {tasks[i]: position for position, i in enumerate(group)}
        filled = _rooms(windows, place, sure.tasks, sure.holds, sure.rooms)
        machines.append(_machine(windows, sure.reach, place, group, filled))
    return Streams(
        counts,
        ticks,
        first,
        np.array([windows.head[o][row] for o, row in tasks]).astype(np.int64),
        np.array([windows.tail[o][row] for o, row in tasks]).astype(np.int64),
        before[order],
        after[order],
        lags[order],
        tuple(machines),
    )


def _least_ticks(windows: Windows, task: Task) -> float:
    operator, row = task
    usable = np.less(windows.heads[operator][row], np.inf)
    return float(windows.instance.ticks[operator][row, usable].min())


def _arcs(
    windows: Windows,
    reach: Reach,
    index: Mapping[Task, int],
    counts: Index,
    first: Index,
    ticks: Index,
) -> tuple[Index, Index, Index]:
    """Return (before, after, lag) of all arcs: along each stream, and from stream to stream."""
    befores, afters, lags = [], [], []
    for i, count in enumerate(counts.tolist()):
        befores.append(first[i] + np.arange(count - 1))
        afters.append(first[i] + np.arange(1, count))
        lags.append(np.zeros(count - 1))
    for arc in windows.instance.arcs:
        for row, other, _ in column_pairs(windows.instance, arc.before, arc.after):
            group = reach.group((arc.before, row), (arc.after, other))
            if not reach.binds(arc, group):
                continue
            delay = reach.delay(arc, group)
            i, j = index[arc.before, row], index[arc.after, other]
            number = np.arange(min(counts[i], counts[j]))
            # All of a stream come before what runs once after it, and after what runs once before.
            shift = max(int(counts[i] - counts[j]), 0)
            befores.append(first[i] + number + shift)
            afters.append(first[j] + number)
            lags.append(np.full(len(number), ticks[i] + delay))
    joined = (np.concatenate(parts).astype(np.int64) for parts in (befores, afters, lags))
    before, after, lag = joined
    return before, after, lag


def _machine(
    windows: Windows,
    reach: Reach,
    place: Mapping[Task, int],
    members: tuple[int, ...],
    rooms: tuple[Room, ...],
) -> Machine:
    """Return one machine with the orders and the memory that its members are bound by."""
    ends: Iterable[tuple[Task, Task]]
    if len(place) <= MOST_MEMBERS:
        ends = permutations(place, 2)
    else:
        ends = (
            ((arc.before, row), (arc.after, other))
            for arc in windows.instance.arcs
            for row, other, _ in column_pairs(windows.instance, arc.before, arc.after)
        )
    pairs = {
        (place[a], place[b])
        for a, b in ends
        if a in place and b in place and comparable(windows.instance, a, b)
        if _precedes(reach, a, b)
    }
    return Machine(np.array(members, dtype=np.int64), tuple(sorted(pairs)), rooms)


def _precedes(reach: Reach, a: Task, b: Task) -> bool:
    """Return whether a microbatch's ``a`` surely ends before its ``b`` starts."""
    group = reach.group(a, b)
    length = reach.lengths(a[0], group).get(b[0])
    if length is None or a[0] == b[0]:
        return False
    return length >= reach.least_ticks(a[0], group) + reach.least_ticks(b[0], group)


def _rooms(
    windows: Windows,
    place: Mapping[Task, int],
    running_there: Mapping[int, Sequence[Activity]],
    holds: Mapping[int, Sequence[Hold]],
    capacities: Mapping[int, float],
) -> tuple[Room, ...]:
    """Return the memories that the tasks of one machine fill, as far as these alone do."""
    found = []
    for r, some in holds.items():
        begun, ended, running_now = np.zeros((3, len(place)))
        for hold in some:
            a, b = hold.first, hold.last
            if a and b and a in place and b in place and comparable(windows.instance, a, b):
                begun[place[a]] += hold.amount
                ended[place[b]] += hold.amount
        for activity in running_there.get(r, ()):
            if activity.task and activity.task in place and activity.steady:
                running_now[place[activity.task]] = activity.amount
        if begun.any():
            found.append(Room(begun, ended, running_now, capacities[r]))
    return tuple(found)
