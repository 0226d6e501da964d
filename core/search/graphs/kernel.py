"""List scheduling that chooses devices, compiled: tasks in a given order, each where it ends first.

Devices and channels are timelines with gaps: a task or transfer goes into the first gap that holds
it (Topcuoglu et al. 2002, insertion-based policy).
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parplan.compiling import compiled
from parplan.search.scheduling.tables import Flags, Real, Whole

GAPS = 16
"""Gaps that a timeline remembers; where there are more, the oldest is forgotten."""

NEVER = 2**60
"""An instant after all others."""


class Flat(NamedTuple):
    """A task graph as arrays for compiled code; see `task_graph`."""

    unit: Whole
    ticks: Whole
    lane: Whole
    lanes: int
    release: Whole
    allowed: Flags
    producer: Whole
    bytes: Real
    input_first: Whole
    input: Whole
    ticks_per_byte: Real
    latency: Whole
    channel_first: Whole
    channel: Whole
    channels: int
    room: Real
    group_first: Whole
    group: Whole
    group_bytes: Real
    kept_bytes: Real


class Timelines(NamedTuple):
    """When machines are busy: each is free in its gaps, oldest first, and from its tail on."""

    tail: Whole
    gaps: Whole
    begin: NDArray[np.int64]
    end: NDArray[np.int64]


@compiled
def _timelines(machines: int) -> Any:
    return Timelines(
        np.zeros(machines, np.int64),
        np.zeros(machines, np.int64),
        np.zeros((machines, GAPS), np.int64),
        np.zeros((machines, GAPS), np.int64),
    )


@compiled
def _earliest(t: Timelines, machine: int, ready: int, length: int) -> int:
    """Return the first instant from which a machine is free for so long."""
    for k in range(t.gaps[machine]):
        start = int(max(ready, t.begin[machine, k]))
        if start + length <= t.end[machine, k]:
            return start
    return int(max(ready, t.tail[machine]))


@compiled
def _forget(t: Timelines, machine: int, k: int) -> None:
    t.gaps[machine] -= 1
    for i in range(k, t.gaps[machine]):
        t.begin[machine, i] = t.begin[machine, i + 1]
        t.end[machine, i] = t.end[machine, i + 1]


@compiled
def _remember(t: Timelines, machine: int, k: int, begin: int, end: int) -> None:
    """Put a gap at position k; where there is no room, the oldest is forgotten."""
    if t.gaps[machine] == GAPS:
        if k == 0:
            return
        _forget(t, machine, 0)
        k -= 1
    for i in range(t.gaps[machine], k, -1):
        t.begin[machine, i] = t.begin[machine, i - 1]
        t.end[machine, i] = t.end[machine, i - 1]
    t.begin[machine, k] = begin
    t.end[machine, k] = end
    t.gaps[machine] += 1


@compiled
def _book(t: Timelines, machine: int, start: int, length: int) -> None:
    """Take a machine from an instant that ``_earliest`` returned."""
    if length == 0:
        return
    if start >= t.tail[machine]:
        if start > t.tail[machine]:
            _remember(t, machine, t.gaps[machine], t.tail[machine], start)
        t.tail[machine] = start + length
        return
    for k in range(t.gaps[machine]):
        begin, end = t.begin[machine, k], t.end[machine, k]
        if begin <= start and start + length <= end:
            _forget(t, machine, k)
            if start + length < end:
                _remember(t, machine, k, start + length, end)
            if begin < start:
                _remember(t, machine, k, begin, start)
            return


@compiled
def _transfer_start(f: Flat, t: Timelines, route: int, ready: int, length: int) -> int:
    """Return the first instant from which all channels of a route are free for so long."""
    start = ready
    while True:
        before = start
        for c in range(f.channel_first[route], f.channel_first[route + 1]):
            start = _earliest(t, f.channel[c], start, length)
        if start == before:
            return start


@compiled
def _length(f: Flat, send: int, source: int, target: int) -> int:
    """Return how long a transfer holds its route."""
    return int(np.ceil(f.bytes[send] * f.ticks_per_byte[source, target] - 1e-6))


@compiled
def _added_bytes(f: Flat, present: Any, unit: int, device: int) -> float:
    """Return what a device would keep beyond what it keeps already."""
    added = float(f.kept_bytes[unit])
    for k in range(f.group_first[unit], f.group_first[unit + 1]):
        if not present[f.group[k], device]:
            added += f.group_bytes[f.group[k]]
    return added


@compiled
def place_in_order(
    f: Flat, order: Any, device: Any, lookahead: Any, rest: Any, limit: int
) -> tuple[Any, Any, int, int]:
    """Return (starts, arrivals, makespan, the task without a place or -1).

    See ``list_schedule.in_order``. Arrivals are of each send on each device, -1 without a transfer.

    Units without a device (-1) in ``device`` get theirs there.
    """
    devices = len(f.latency)
    room = f.room.copy()
    starts = np.full(len(f.unit), -1, np.int64)
    ends = np.zeros(len(f.unit), np.int64)
    arrived = np.full((len(f.bytes), devices), -1, np.int64)
    present = np.zeros((len(f.group_bytes), devices), np.bool_)
    counted = np.zeros(len(device), np.bool_)
    engines, channels = _timelines(devices * f.lanes), _timelines(f.channels)
    makespan = 0
    for i in order:
        u = f.unit[i]
        best = -1
        if device[u] >= 0:
            if f.ticks[i, device[u]] >= 0:
                best = device[u]
        else:
            best_score = np.inf
            for d in range(devices):
                if not f.allowed[u, d] or f.ticks[i, d] < 0:
                    continue
                if _added_bytes(f, present, u, d) > room[d]:
                    continue
                ready = f.release[i]
                for k in range(f.input_first[i], f.input_first[i + 1]):
                    s = f.input[k]
                    p = f.producer[s]
                    source = device[f.unit[p]]
                    there = ends[p]
                    if source != d and arrived[s, d] >= 0:
                        there = arrived[s, d]
                    elif source != d and f.ticks_per_byte[source, d] == np.inf:
                        there = NEVER
                    elif source != d:
                        length = _length(f, s, source, d)
                        begin = _transfer_start(f, channels, source * devices + d, there, length)
                        there = begin + length + f.latency[source, d]
                    ready = max(ready, there)
                if ready >= NEVER:
                    continue
                start = ready
                if f.lane[i] >= 0:
                    machine = d * f.lanes + f.lane[i]
                    start = _earliest(engines, machine, ready, f.ticks[i, d])
                score = start + f.ticks[i, d] + lookahead[i, d]
                if score < best_score:
                    best, best_score = d, score
        if best < 0:
            return starts, arrived, NEVER, i
        device[u] = best
        if not counted[u]:
            counted[u] = True
            room[best] -= _added_bytes(f, present, u, best)
            for k in range(f.group_first[u], f.group_first[u + 1]):
                present[f.group[k], best] = True
            if room[best] < 0:
                return starts, arrived, NEVER, i
        ready = f.release[i]
        for k in range(f.input_first[i], f.input_first[i + 1]):
            s = f.input[k]
            p = f.producer[s]
            source = device[f.unit[p]]
            if source == best:
                ready = max(ready, ends[p])
                continue
            if arrived[s, best] < 0:
                if f.ticks_per_byte[source, best] == np.inf:
                    return starts, arrived, NEVER, i
                length = _length(f, s, source, best)
                route = source * devices + best
                begin = _transfer_start(f, channels, route, ends[p], length)
                for c in range(f.channel_first[route], f.channel_first[route + 1]):
                    _book(channels, f.channel[c], begin, length)
                arrived[s, best] = begin + length + f.latency[source, best]
            ready = max(ready, arrived[s, best])
        length = f.ticks[i, best]
        start = ready
        if f.lane[i] >= 0:
            machine = best * f.lanes + f.lane[i]
            start = _earliest(engines, machine, ready, length)
            _book(engines, machine, start, length)
        starts[i], ends[i] = start, start + length
        makespan = max(makespan, ends[i])
        if start + rest[i] >= limit:
            return starts, arrived, NEVER, -1
    return starts, arrived, makespan, -1


@compiled
def ready_order(
    priority: Any,
    waiting: Any,
    sent_first: Any,
    reader_first: Any,
    reader: Any,
    position: Any,
) -> Any:
    """Return the tasks in the order in which they come from a queue of those that are ready.

    Parameters
    ----------
    waiting
        How many inputs each task waits for; used up.
    position
        Of each task in a topological order: it breaks ties.
    """
    order = np.zeros(len(priority), np.int64)
    heap = [(priority[0], position[0], 0)]
    heap.pop()
    for i in range(len(priority)):
        if waiting[i] == 0:
            heapq.heappush(heap, (priority[i], position[i], i))
    done = 0
    while heap:
        _, _, i = heapq.heappop(heap)
        order[done] = i
        done += 1
        for s in range(sent_first[i], sent_first[i + 1]):
            for k in range(reader_first[s], reader_first[s + 1]):
                waiting[reader[k]] -= 1
                if waiting[reader[k]] == 0:
                    heapq.heappush(heap, (priority[reader[k]], position[reader[k]], reader[k]))
    return order
