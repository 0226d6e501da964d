"""Times of works in fixed orders on devices, with transfers that queue on links as they come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise

from attrs import field, frozen

from parplan.problem import Problem

COMPUTE = "compute"


@frozen
class Work:
    """Something that occupies devices for some ticks, not before its release."""

    devices: tuple[int, ...]
    ticks: int
    release: int = 0


@frozen
class Handover:
    """Work ``after`` waits for work ``before``; on another device for a transfer of ``bytes``."""

    before: int
    after: int
    bytes: int


@frozen(eq=False)
class Timing:
    """When works start, in ticks; left out are those that wait for one another in a circle."""

    starts: dict[int, int]
    makespan: int


def timed(
    problem: Problem,
    works: Sequence[Work],
    orders: Sequence[Sequence[int]],
    handovers: Sequence[Handover],
) -> Timing:
    """Return the start of each work: as early as its device's order and its inputs allow.

    Transfers start when the work before has ended, in that order where they share a link or an
    engine, and keep both as the problem says. O(n log n).

    Parameters
    ----------
    orders
        The works of each device, first to last.
    """
    return _Run(problem, works, handovers).through(orders)


@frozen(eq=False)
class _Run:
    problem: Problem
    works: Sequence[Work]
    handovers: Sequence[Handover]
    free: dict[tuple[str, int], list[int]] = field(factory=dict)

    def through(self, orders: Sequence[Sequence[int]]) -> Timing:
        works = self.works
        waits = [0] * len(works)
        ready = [work.release for work in works]
        followers: list[list[int]] = [[] for _ in works]
        outgoing: list[list[Handover]] = [[] for _ in works]
        for order in orders:
            for before, after in pairwise(order):
                followers[before].append(after)
                waits[after] += 1
        for handover in self.handovers:
            outgoing[handover.before].append(handover)
            waits[handover.after] += 1
        # (tick, is it an arrival, number): ends come before arrivals of the same tick.
        events: list[tuple[int, bool, int]] = []
        starts: dict[int, int] = {}

        def passed(work: int, tick: int) -> None:
            ready[work] = max(ready[work], tick)
            waits[work] -= 1
            if waits[work] == 0:
                begin(work)

        def begin(work: int) -> None:
            starts[work] = self.begins(work, ready[work])
            heapq.heappush(events, (starts[work] + works[work].ticks, False, work))

        for work, count in enumerate(list(waits)):
            if count == 0:
                begin(work)
        makespan = 0
        while events:
            tick, is_arrival, number = heapq.heappop(events)
            if is_arrival:
                passed(number, tick)
                continue
            makespan = max(makespan, tick)
            for handover in outgoing[number]:
                arrival = self.arrives(handover, tick)
                heapq.heappush(events, (arrival, True, handover.after))
            for after in followers[number]:
                passed(after, tick)
        return Timing(starts, makespan)

    def begins(self, work: int, tick: int) -> int:
        """Return when a work starts that could at ``tick``; blocking transfers hold devices."""
        devices = self.problem.cluster.devices
        keys = [
            ((COMPUTE, device), int(devices[device].engines.get(COMPUTE, 1)))
            for device in self.works[work].devices
        ]
        begin = max([tick, *(self.slot(*key)[0] for key in keys)])
        for key in keys:
            self.hold(*key, begin + self.works[work].ticks)
        return begin

    def arrives(self, handover: Handover, tick: int) -> int:
        """Return when what a work made is where it is needed."""
        sources = self.works[handover.before].devices
        targets = self.works[handover.after].devices
        return max(self._sent(handover, sources, target, tick) for target in targets)

    def _sent(self, handover: Handover, sources: Sequence[int], target: int, tick: int) -> int:
        if target in sources:
            return tick
        timing = self.problem.transfer_timing(handover.bytes, sources[0], target)
        assert timing is not None  # the plan moves tensors along the same way
        cluster, begin = self.problem.cluster, tick
        engines = [
            ((engine, device), int(cluster.devices[device].engines[engine]))
            for device, engine in zip((sources[0], target), cluster.transfer_engines, strict=True)
            if engine is not None and engine in cluster.devices[device].engines
        ]
        lines = [
            (("link", hold.link), capacity, hold)
            for hold in timing.holds
            for capacity in (cluster.links[hold.link].capacity,)
            if capacity is not None
        ]
        for key, capacity, hold in lines:
            begin = max(begin, self.slot(key, capacity)[0] - hold.offset)
        for key, capacity in engines:
            begin = max(begin, self.slot(key, capacity)[0])
        for key, capacity, hold in lines:
            self.hold(key, capacity, begin + hold.offset + hold.ticks)
        for key, capacity in engines:
            self.hold(key, capacity, begin + timing.occupied)
        return begin + timing.arrival

    def slot(self, key: tuple[str, int], capacity: int) -> list[int]:
        """Return when each of the places of a resource is free, a heap."""
        return self.free.setdefault(key, [0] * capacity)

    def hold(self, key: tuple[str, int], capacity: int, until: int) -> None:
        heapq.heapreplace(self.slot(key, capacity), until)
