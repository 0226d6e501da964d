"""List scheduling that chooses devices, compiled: tasks in a given order, each where it ends first.

Devices and channels are timelines with gaps: a task or transfer goes into the first gap that holds
it (Topcuoglu et al. 2002, insertion-based policy).
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np

from parplan.scheduling.tables import Flags, Real, Whole
from parplan.system.compiling import compiled, kernel_part

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


TAIL, COUNT, FIRST = 0, 1, 2
"""Columns of timelines, which have a row for each machine: from when on it is free, how many gaps
it has before that, and their begins and ends in turn, oldest first."""


@kernel_part
def _timelines(machines: int) -> Any:
    return np.zeros((machines, FIRST + 2 * GAPS), np.int64)


@kernel_part
def _earliest(t: Any, machine: int, ready: int, length: int) -> int:
    """Return the first instant from which a machine is free for so long."""
    found = max(ready, t[machine, TAIL])
    for k in range(FIRST + 2 * (t[machine, COUNT] - 1), FIRST - 1, -2):
        if ready + length > t[machine, k + 1]:
            break  # older gaps end earlier still
        start = max(ready, t[machine, k])
        if start + length <= t[machine, k + 1]:
            found = start
    return int(found)


@kernel_part
def _forget(t: Any, machine: int, k: int) -> None:
    t[machine, COUNT] -= 1
    for i in range(FIRST + 2 * k, FIRST + 2 * t[machine, COUNT]):
        t[machine, i] = t[machine, i + 2]


@kernel_part
def _remember(t: Any, machine: int, k: int, begin: int, end: int) -> None:
    """Put a gap at position k; where there is no room, the oldest is forgotten."""
    if t[machine, COUNT] == GAPS:
        if k == 0:
            return
        _forget(t, machine, 0)
        k -= 1
    for i in range(FIRST + 2 * t[machine, COUNT] + 1, FIRST + 2 * k + 1, -1):
        t[machine, i] = t[machine, i - 2]
    t[machine, FIRST + 2 * k] = begin
    t[machine, FIRST + 2 * k + 1] = end
    t[machine, COUNT] += 1


@kernel_part
def _book(t: Any, machine: int, start: int, length: int) -> None:
    """Take a machine from an instant that ``_earliest`` returned."""
    if length == 0:
        return
    if start >= t[machine, TAIL]:
        if start > t[machine, TAIL]:
            _remember(t, machine, t[machine, COUNT], t[machine, TAIL], start)
        t[machine, TAIL] = start + length
        return
    for k in range(t[machine, COUNT] - 1, -1, -1):
        begin, end = t[machine, FIRST + 2 * k], t[machine, FIRST + 2 * k + 1]
        if begin <= start:
            _forget(t, machine, k)
            if start + length < end:
                _remember(t, machine, k, start + length, end)
            if begin < start:
                _remember(t, machine, k, begin, start)
            return


@kernel_part
def _transfer_start(t: Any, channel: Any, first: int, last: int, ready: int, length: int) -> int:
    """Return the first instant from which all channels of a route are free for so long."""
    start = ready
    while True:
        before = start
        for c in range(first, last):
            start = _earliest(t, channel[c], start, length)
        if start == before or last - first == 1:
            return start


@kernel_part
def _length(size: float, ticks_per_byte: float) -> int:
    """Return how long a transfer holds its route."""
    return int(np.ceil(size * ticks_per_byte - 1e-6))


@kernel_part
def _added_bytes(
    unit: int, device: int, present: Any, kept: Any, first: Any, group: Any, group_bytes: Any
) -> float:
    """Return what a device would keep beyond what it keeps already."""
    added = float(kept[unit])
    for k in range(first[unit], first[unit + 1]):
        if not present[group[k], device]:
            added += group_bytes[group[k]]
    return added


@compiled
def place_in_order(
    f: Flat, order: Any, device: Any, lookahead: Any, toll: float, rest: Any, limit: int
) -> tuple[Any, Any, int, int]:
    """Return (starts, arrivals, makespan, the task without a place or -1).

    See ``list_schedule.in_order``. Arrivals are of each send on each device, -1 without a transfer.

    Units without a device (-1) in ``device`` get theirs there.
    """
    unit, ticks, lane, lanes, release = f.unit, f.ticks, f.lane, f.lanes, f.release
    allowed, producer, size = f.allowed, f.producer, f.bytes
    input_first, inputs = f.input_first, f.input
    per_byte, latency, channel_first, channel = (
        f.ticks_per_byte,
        f.latency,
        f.channel_first,
        f.channel,
    )
    group_first, group, group_bytes, kept = f.group_first, f.group, f.group_bytes, f.kept_bytes
    devices = len(latency)
    room = f.room.copy()
    starts = np.full(len(unit), -1, np.int64)
    ends = np.zeros(len(unit), np.int64)
    arrived = np.full((len(size), devices), -1, np.int64)
    present = np.zeros((len(group_bytes), devices), np.bool_)
    counted = np.zeros(len(device), np.bool_)
    engines, channels = _timelines(devices * lanes), _timelines(f.channels)
    makespan = 0
    for i in order:
        u = unit[i]
        best = -1
        if device[u] >= 0:
            if ticks[i, device[u]] >= 0:
                best = device[u]
        else:
            best_score = np.inf
            for d in range(devices):
                if not allowed[u, d] or ticks[i, d] < 0:
                    continue
                if _added_bytes(u, d, present, kept, group_first, group, group_bytes) > room[d]:
                    continue
                ready = release[i]
                tolls = 0.0
                for k in range(input_first[i], input_first[i + 1]):
                    s = inputs[k]
                    p = producer[s]
                    source = device[unit[p]]
                    there = ends[p]
                    if source != d and arrived[s, d] >= 0:
                        there = arrived[s, d]
                    elif source != d and per_byte[source, d] == np.inf:
                        there = NEVER
                    elif source != d:
                        length = _length(size[s], per_byte[source, d])
                        route = source * devices + d
                        first, last = channel_first[route], channel_first[route + 1]
                        begin = _transfer_start(channels, channel, first, last, there, length)
                        there = begin + length + latency[source, d]
                        tolls += toll * length
                    ready = max(ready, there)
                if ready >= NEVER:
                    continue
                start = ready
                if lane[i] >= 0:
                    machine = d * lanes + lane[i]
                    start = _earliest(engines, machine, ready, ticks[i, d])
                score = start + ticks[i, d] + lookahead[i, d] + tolls
                if score < best_score:
                    best, best_score = d, score
        if best < 0:
            return starts, arrived, NEVER, i
        device[u] = best
        if not counted[u]:
            counted[u] = True
            room[best] -= _added_bytes(u, best, present, kept, group_first, group, group_bytes)
            for k in range(group_first[u], group_first[u + 1]):
                present[group[k], best] = True
            if room[best] < 0:
                return starts, arrived, NEVER, i
        ready = release[i]
        for k in range(input_first[i], input_first[i + 1]):
            s = inputs[k]
            p = producer[s]
            source = device[unit[p]]
            if source == best:
                ready = max(ready, ends[p])
                continue
            if arrived[s, best] < 0:
                if per_byte[source, best] == np.inf:
                    return starts, arrived, NEVER, i
                length = _length(size[s], per_byte[source, best])
                route = source * devices + best
                first, last = channel_first[route], channel_first[route + 1]
                begin = _transfer_start(channels, channel, first, last, ends[p], length)
                for c in range(first, last):
                    _book(channels, channel[c], begin, length)
                arrived[s, best] = begin + length + latency[source, best]
            ready = max(ready, arrived[s, best])
        length = ticks[i, best]
        start = ready
        if lane[i] >= 0:
            machine = best * lanes + lane[i]
            start = _earliest(engines, machine, ready, length)
            _book(engines, machine, start, length)
        starts[i], ends[i] = start, start + length
        makespan = max(makespan, ends[i])
        if max(ends[i], start + rest[i]) >= limit:
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
