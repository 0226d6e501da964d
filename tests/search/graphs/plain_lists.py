"""The list scheduler of `parplan.search.graphs.kernel` in plain Python: its twin."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
from attrs import define, field

from parplan.scheduling.tables import Real, Whole
from parplan.search.graphs.kernel import GAPS, NEVER
from parplan.search.graphs.task_graph import TaskGraph


@define
class _Timeline:
    """When one machine is busy: it is free in its gaps, oldest first, and from its tail on."""

    tail: int = 0
    gaps: list[tuple[int, int]] = field(factory=list)

    def earliest(self, ready: int, length: int) -> int:
        for begin, end in self.gaps:
            if max(ready, begin) + length <= end:
                return max(ready, begin)
        return max(ready, self.tail)

    def book(self, start: int, length: int) -> None:
        if length == 0:
            return
        if start >= self.tail:
            if start > self.tail:
                self.gaps = [*self.gaps, (self.tail, start)][-GAPS:]
            self.tail = start + length
            return
        at = next(k for k, (b, e) in enumerate(self.gaps) if b <= start and start + length <= e)
        begin, end = self.gaps[at]
        left = [(b, e) for b, e in ((begin, start), (start + length, end)) if b < e]
        self.gaps = [*self.gaps[:at], *left, *self.gaps[at + 1 :]][-GAPS:]


class _Run:
    """One list schedule under way."""

    def __init__(self, graph: TaskGraph, device: list[int]) -> None:
        self.graph = graph
        self.device = device
        self.ends: dict[int, int] = {}
        self.arrivals = np.full((len(graph.sends), graph.devices), -1, dtype=np.int64)
        self.engines = [_Timeline() for _ in range(graph.devices * graph.lanes)]
        self.channels = [_Timeline() for _ in range(graph.routes.channel_count)]
        self.room = graph.memory.room.tolist()
        self.present: set[tuple[int, int]] = set()
        self.counted: set[int] = set()

    def added_bytes(self, unit: int, device: int) -> float:
        memory = self.graph.memory
        fresh = (g for g in memory.groups.row(unit) if (int(g), device) not in self.present)
        return float(memory.kept_bytes[unit]) + sum(float(memory.group_bytes[g]) for g in fresh)

    def settle(self, unit: int, device: int) -> bool:
        """Take room for a unit that gets its device; return whether it fits."""
        self.device[unit] = device
        if unit not in self.counted:
            self.counted.add(unit)
            self.room[device] -= self.added_bytes(unit, device)
            self.present |= {(int(g), device) for g in self.graph.memory.groups.row(unit)}
        return bool(self.room[device] >= 0)

    def ready(self, task: int, device: int, *, book: bool) -> tuple[int, int]:
        """Return when all that a task reads is on a device (NEVER without a route).

        And for how long transfers would hold their routes for that.
        """
        held = 0
        graph, routes = self.graph, self.graph.routes
        ready = int(graph.release[task])
        for send in graph.sends.inputs.row(task).tolist():
            producer = int(graph.sends.producer[send])
            source = self.device[int(graph.unit[producer])]
            there = self.ends[producer]
            if source != device and self.arrivals[send, device] >= 0:
                there = int(self.arrivals[send, device])
            elif source != device:
                per_byte = float(routes.ticks_per_byte[source, device])
                if math.isinf(per_byte):
                    return NEVER, held
                length = math.ceil(float(graph.sends.bytes[send]) * per_byte - 1e-6)
                route = routes.channels.row(source * graph.devices + device).tolist()
                begin = self.transfer_start(route, there, length)
                there = begin + length + int(routes.latency[source, device])
                held += length
                if book:
                    for channel in route:
                        self.channels[channel].book(begin, length)
                    self.arrivals[send, device] = there
            ready = max(ready, there)
        return ready, held

    def transfer_start(self, route: Sequence[int], ready: int, length: int) -> int:
        start, before = ready, -1
        while start != before:
            before = start
            for channel in route:
                start = self.channels[channel].earliest(start, length)
        return start

    def start(self, task: int, device: int, ready: int) -> int:
        lane, graph = int(self.graph.lane[task]), self.graph
        if lane < 0:
            return ready
        length = int(graph.ticks[task, device])
        return self.engines[device * graph.lanes + lane].earliest(ready, length)

    def best_device(self, task: int, lookahead: Real, toll: float) -> int:
        """Return the device on which a task ends first; -1 if there is none."""
        graph, unit = self.graph, int(self.graph.unit[task])
        best, best_score = -1, math.inf
        for device in range(graph.devices):
            if not graph.allowed[unit, device] or graph.ticks[task, device] < 0:
                continue
            if self.added_bytes(unit, device) > self.room[device]:
                continue
            ready, held = self.ready(task, device, book=False)
            if ready < NEVER:
                end = self.start(task, device, ready) + int(graph.ticks[task, device])
                score = end + float(lookahead[task, device]) + toll * held
                if score < best_score:
                    best, best_score = device, score
        return best


def place_plainly(
    graph: TaskGraph,
    order: Whole,
    device: Whole,
    lookahead: Real,
    toll: float,
    rest: Whole,
    limit: int,
) -> tuple[Whole, Whole, int, int]:
    """Return what ``kernel.place_in_order`` does; ``device`` is filled in the same way."""
    run = _Run(graph, device.tolist())
    starts = np.full(len(graph), -1, dtype=np.int64)
    makespan = 0
    try:
        for task in order.tolist():
            unit = int(graph.unit[task])
            chosen = run.device[unit]
            if chosen < 0:
                chosen = run.best_device(task, lookahead, toll)
            length = -1 if chosen < 0 else int(graph.ticks[task, chosen])
            if length < 0 or not run.settle(unit, chosen):
                return starts, run.arrivals, NEVER, task
            ready, _ = run.ready(task, chosen, book=True)
            if ready >= NEVER:
                return starts, run.arrivals, NEVER, task
            start = run.start(task, chosen, ready)
            if graph.lane[task] >= 0:
                engine = chosen * graph.lanes + int(graph.lane[task])
                run.engines[engine].book(start, length)
            starts[task], run.ends[task] = start, start + length
            makespan = max(makespan, start + length)
            if max(start + length, start + rest[task]) >= limit:
                return starts, run.arrivals, NEVER, -1
    finally:
        device[:] = run.device
    return starts, run.arrivals, makespan, -1


def ready_order_plainly(graph: TaskGraph, priority: Real, position: Whole) -> Whole:
    """Return what ``kernel.ready_order`` does."""
    sends = graph.sends
    waiting = np.diff(sends.inputs.first)
    heap = [(float(priority[i]), int(position[i]), int(i)) for i in np.flatnonzero(waiting == 0)]
    heapq.heapify(heap)
    order = []
    while heap:
        task = heapq.heappop(heap)[2]
        order.append(task)
        for send in range(sends.of_task.first[task], sends.of_task.first[task + 1]):
            for reader in sends.readers.row(send).tolist():
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(heap, (float(priority[reader]), int(position[reader]), reader))
    return np.array(order, dtype=np.int64)
