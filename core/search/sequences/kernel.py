"""Times of an order by longest path, compiled; ``longest_path`` is its plain twin.

An evaluation may keep every start before a given instant: what starts earlier than anything that
moved in the order does not depend on it. It also gives up as soon as the work left on a machine
shows that a limit will be exceeded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from parplan.criteria import Criterion
from parplan.scheduling.tables import Whole
from parplan.search.sequences.machines import Machines
from parplan.system.compiling import compiled, kernel_part

FAR = np.int64(2**61)
"""Later than any instant."""

MAKESPAN = int(Criterion.MAKESPAN)

DEADLOCK = -1
"""What ``propagate`` returns where the order waits for itself."""

BEYOND = -2
"""What ``propagate`` returns where the limit is exceeded."""


class Scratch(NamedTuple):
    """Arrays that one evaluation after another uses; contents do not matter in between.

    ``sequence`` lists the nodes in an order in which they could be timed, but for those that were
    kept. ``blocked_first[i]`` is the first machine that waits for node i, ``blocked_next`` the
    next.
    """

    pointer: Whole
    free: Whole
    opened: Whole
    released: Whole
    left: Whole
    blocked_first: Whole
    blocked_next: Whole
    stack: Whole
    stacked: Whole
    sequence: Whole


def make_scratch(machines: Machines) -> Scratch:
    """Return scratch arrays for a view."""
    nodes, count = len(machines.durations), len(machines.first) - 1

    def numbers(size: int) -> Whole:
        return np.zeros(size, dtype=np.int64)

    return Scratch(
        pointer=numbers(count),
        free=numbers(count),
        opened=numbers(count),
        released=numbers(count),
        left=numbers(count),
        blocked_first=numbers(nodes),
        blocked_next=numbers(count),
        stack=numbers(count),
        stacked=numbers(count),
        sequence=numbers(nodes),
    )


@compiled
def propagate(v: Any, s: Any, order: Any, before: Any, begin: Any, starts: Any, limit: Any) -> Any:
    """Set the start of each node; return the makespan, ``DEADLOCK`` or ``BEYOND``.

    Parameters
    ----------
    before, begin
        Starts of an order that differs from this one only among nodes that start at ``begin`` or
        later: those before that instant are kept. With ``begin = -1`` nothing is.
    starts
        What is written; whole only if a makespan is returned.
    limit
        Give up when the makespan must be greater.
    """
    machines = len(v.first) - 1
    todo = 0
    timed = 0
    makespan = np.int64(0)
    for i in range(len(v.durations)):
        s.blocked_first[i] = -1
        if before[i] >= begin:
            starts[i] = -1
            todo += 1
        else:
            starts[i] = before[i]
            if v.counted[i] and starts[i] + v.durations[i] > makespan:
                makespan = starts[i] + v.durations[i]
    top = 0
    for q in range(machines):
        low, high = v.first[q], v.first[q + 1]
        # Starts never fall along a machine, so what is kept comes first.
        a, b = low, high
        while a < b:
            c = (a + b) // 2
            if starts[order[c]] >= 0:
                a = c + 1
            else:
                b = c
        s.pointer[q] = a
        free, opened, released = np.int64(0), np.int64(0), np.int64(0)
        if v.mixed[q]:
            for p in range(low, a):
                i = order[p]
                opened, free, released = _clocks(v, q, i, starts[i], opened, free, released)
        elif a > low:
            i = order[a - 1]
            opened = starts[i]
            free = starts[i] + v.durations[i]
            released = free
        s.free[q], s.opened[q], s.released[q] = free, opened, released
        work = np.int64(0)
        for p in range(a, high):
            work += v.durations[order[p]]
        s.left[q] = work
        s.stacked[q] = 0
        if a < high:
            s.stack[top] = q
            s.stacked[q] = 1
            top += 1
    while top > 0:
        top -= 1
        q = s.stack[top]
        s.stacked[q] = 0
        while s.pointer[q] < v.first[q + 1]:
            i = order[s.pointer[q]]
            visits = v.visit_first[i + 1] - v.visit_first[i]
            if visits > 1:
                there = True
                for k in range(v.visit_first[i], v.visit_first[i + 1]):
                    other = v.visit_machine[k]
                    if s.pointer[other] == v.first[other + 1] or order[s.pointer[other]] != i:
                        there = False
                        break
                if not there:
                    break
            start = v.releases[i]
            waits = np.int64(-1)
            for k in range(v.arc_first[i], v.arc_first[i + 1]):
                early = v.arc_from[k]
                if starts[early] < 0:
                    waits = early
                    break
                if starts[early] + v.arc_delay[k] > start:
                    start = starts[early] + v.arc_delay[k]
            if waits >= 0:
                s.blocked_next[q] = s.blocked_first[waits]
                s.blocked_first[waits] = q
                break
            for k in range(v.visit_first[i], v.visit_first[i + 1]):
                other = v.visit_machine[k]
                if v.visit_runs[k] and s.free[other] > start:
                    start = s.free[other]
                if s.opened[other] > start:
                    start = s.opened[other]
                if s.released[other] > start:
                    start = s.released[other]
            if start + v.tails[i] > limit:
                return BEYOND
            starts[i] = start
            s.sequence[timed] = i
            timed += 1
            if v.counted[i] and start + v.durations[i] > makespan:
                makespan = start + v.durations[i]
            for k in range(v.visit_first[i], v.visit_first[i + 1]):
                other = v.visit_machine[k]
                late = start + s.left[other] + v.out[other] > limit
                if late and v.visit_runs[k] and not v.mixed[other]:
                    return BEYOND
                s.left[other] -= v.durations[i]
                if v.mixed[other]:
                    opened, free, released = _clocks(
                        v, other, i, start, s.opened[other], s.free[other], s.released[other]
                    )
                    s.opened[other], s.free[other], s.released[other] = opened, free, released
                else:
                    s.opened[other] = start
                    s.free[other] = start + v.durations[i]
                s.pointer[other] += 1
                if other != q and s.stacked[other] == 0:
                    s.stack[top] = other
                    s.stacked[other] = 1
                    top += 1
            other = s.blocked_first[i]
            while other >= 0:
                if s.stacked[other] == 0:
                    s.stack[top] = other
                    s.stacked[other] = 1
                    top += 1
                other = s.blocked_next[other]
            s.blocked_first[i] = -1
    if timed < todo:
        return DEADLOCK
    return makespan


@compiled
def judge(
    v: Any,
    s: Any,
    order: Any,
    before: Any,
    begin: Any,
    starts: Any,
    late: Any,
    limit: Any,
    criterion: Any,
) -> Any:
    """Return the figure of an order by a criterion, ``DEADLOCK`` or ``BEYOND``.

    Sets ``starts`` as ``propagate`` does and, for spans, ``late`` as ``longest_span`` does.
    """
    if criterion == MAKESPAN:
        return propagate(v, s, order, before, begin, starts, limit)
    makespan = propagate(v, s, order, before, np.int64(-1), starts, FAR)
    return makespan if makespan < 0 else longest_span(v, s, starts, makespan, late)


@kernel_part
def longest_span(v: Any, s: Any, starts: Any, makespan: Any, late: Any) -> Any:
    """Start everything as late as the last ends allow; return the longest span of a machine.

    Parameters
    ----------
    starts, makespan
        What ``propagate`` has just found, with nothing kept.
    late
        What is written: the latest start of each node that leaves the end of the last task on
        every machine where it is, and no transfer later than the makespan.
    """
    machines = len(v.first) - 1
    nodes = len(v.durations)
    longest = np.int64(0)
    # Going backwards: the earliest start among later visits, and among those that run.
    visited, running = s.opened, s.free
    ends = s.left
    for q in range(machines):
        visited[q], running[q] = FAR, makespan
        ends[q] = 0
    for i in range(nodes):
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            if v.visit_runs[k] and v.counted[i]:
                q = v.visit_machine[k]
                ends[q] = max(ends[q], starts[i] + v.durations[i])
    for i in range(nodes):
        late[i] = makespan - v.durations[i]
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            if v.visit_runs[k] and v.counted[i]:
                late[i] = min(late[i], ends[v.visit_machine[k]] - v.durations[i])
    for n in range(nodes - 1, -1, -1):
        i = s.sequence[n]
        latest = late[i]
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            q = v.visit_machine[k]
            latest = min(latest, visited[q])
            if v.visit_runs[k]:
                latest = min(latest, running[q] - v.durations[i])
            if v.mixed[q] and gives(v, q, i):
                latest = min(latest, visited[q] - v.durations[i])
        late[i] = latest
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            q = v.visit_machine[k]
            visited[q] = min(visited[q], latest)
            if v.visit_runs[k]:
                running[q] = latest
                if v.counted[i]:
                    longest = max(longest, ends[q] - latest)
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            early = v.arc_from[k]
            late[early] = min(late[early], latest - v.arc_delay[k])
    return longest


@kernel_part
def _clocks(v: Any, q: Any, i: Any, start: Any, opened: Any, free: Any, released: Any) -> Any:
    """Return what a visit leaves: latest start, end of what runs, end of what gives back."""
    end = start + v.durations[i]
    if start > opened:
        opened = start
    for k in range(v.visit_first[i], v.visit_first[i + 1]):
        if v.visit_machine[k] == q and v.visit_runs[k] and end > free:
            free = end
    if end > released and gives(v, q, i):
        released = end
    return opened, free, released


@kernel_part
def gives(v: Any, q: Any, i: Any) -> Any:
    """Return whether a node gives back, or may give back, some resource of a machine."""
    low, high = v.kept_first[q], v.kept_first[q + 1]
    for k in range(v.move_first[i], v.move_first[i + 1]):
        if v.move_give[k] > 0 and low <= v.move_resource[k] < high:
            return True
    for k in range(v.last_first[i], v.last_first[i + 1]):
        b = v.last_buffer[k]
        for h in range(v.hold_first[b], v.hold_first[b + 1]):
            if low <= v.hold_resource[h] < high:
                return True
    return False


@kernel_part
def place_of(v: Any, place: Any, i: Any, q: Any) -> Any:
    """Return the position in the order of a node's visit to a machine; -1 if there is none."""
    for k in range(v.visit_first[i], v.visit_first[i + 1]):
        if v.visit_machine[k] == q:
            return place[k]
    return np.int64(-1)


@kernel_part
def set_places(v: Any, order: Any, place: Any, q: Any, low: Any, high: Any) -> None:
    """Write down where the visits at positions ``low`` to ``high - 1`` of a machine are."""
    for p in range(low, high):
        i = order[p]
        for k in range(v.visit_first[i], v.visit_first[i + 1]):
            if v.visit_machine[k] == q:
                place[k] = p


@kernel_part
def fits(v: Any, order: Any, place: Any, held: Any, q: Any, low: Any, high: Any) -> Any:
    """Return whether positions ``low`` to ``high - 1`` of a machine fit, and go with the arcs.

    Parameters
    ----------
    held
        Prefix sums: what is held of resource r of machine q before position p is at
        ``held_first[q] + (p - first[q]) * resources + r``. Read at ``low``; those that
        follow are written, up to ``high - 1``.
    """
    from_, to = v.kept_first[q], v.kept_first[q + 1]
    wide = to - from_
    base = v.held_first[q]
    for p in range(low, high):
        i = order[p]
        for k in range(v.arc_first[i], v.arc_first[i + 1]):
            if place_of(v, place, v.arc_from[k], q) > p:
                return False
        if wide == 0:
            continue
        here = base + (p - v.first[q]) * wide
        more = p + 1 < high
        if more:
            for r in range(wide):
                held[here + wide + r] = held[here + r]
        for k in range(v.move_first[i], v.move_first[i + 1]):
            r = v.move_resource[k] - from_
            if 0 <= r < wide:
                if held[here + r] + v.move_take[k] > v.limits[r + from_]:
                    return False
                if more:
                    held[here + wide + r] += v.move_take[k] - v.move_give[k]
        if not more:
            continue
        for k in range(v.last_first[i], v.last_first[i + 1]):
            b = v.last_buffer[k]
            last = True
            for n in range(v.buffer_first[b], v.buffer_first[b + 1]):
                if place_of(v, place, v.buffer_nodes[n], q) > p:
                    last = False
            if last:
                for h in range(v.hold_first[b], v.hold_first[b + 1]):
                    r = v.hold_resource[h] - from_
                    if 0 <= r < wide:
                        held[here + wide + r] -= v.hold_amount[h]
    return True


@kernel_part
def start_held(v: Any, held: Any) -> None:
    """Write what is held from the outset before the first position of each machine."""
    for q in range(len(v.first) - 1):
        if v.first[q + 1] > v.first[q]:
            base = v.held_first[q]
            for r in range(v.kept_first[q + 1] - v.kept_first[q]):
                held[base + r] = v.levels[v.kept_first[q] + r]
