"""Loads in a steady state: how long every engine and link is held for one microbatch.

Where samples follow one another without an end, the busiest of them sets the pace: no schedule
lets samples follow one another faster, whatever its order (the minimal initiation interval of
modulo scheduling; Rau, "Iterative modulo scheduling", 1996, its bound by resources).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import frozen

from parplan.hardware import Cluster
from parplan.schedule import Schedule


@frozen
class Loading:
    """How transfers load engines and links.

    Attributes
    ----------
    leaves_once
        A tensor leaves its device once, however many devices receive it: it is written to host
        memory, and each receiver reads it from there. The engine that sends it, and the links that
        start at its device, are loaded by the longest of its transfers alone.
    """

    leaves_once: bool = False


@frozen
class Place:
    """An engine of a device, or a link (``engine`` is then empty); indices into the cluster."""

    index: int
    engine: str = ""


def capacity_of(cluster: Cluster, place: Place) -> int | None:
    """Return how much an engine or link carries at a time; None if that is not limited."""
    if place.engine:
        return cluster.devices[place.index].engines[place.engine]
    return cluster.links[place.index].capacity


def loads(schedule: Schedule, loading: Loading) -> dict[Place, float]:
    """Return the load of every engine and link that is used, in ticks per microbatch.

    It is what a step holds, divided by the capacity and by the number of microbatches. Links
    without a capacity have no load. O(tasks + transfers).
    """
    cluster, microbatches = schedule.problem.cluster, schedule.problem.workload.microbatches
    held: Counter[Place] = Counter()
    for place, ticks in _of_tasks(schedule):
        held[place] += ticks
    longest: dict[tuple[int, int, int, Place], int] = {}
    for row, place, at_source, ticks in _of_transfers(schedule):
        if not (loading.leaves_once and at_source):
            held[place] += ticks
            continue
        moved = schedule.transfers
        key = (int(moved.tensor[row]), int(moved.microbatch[row]), int(moved.source[row]), place)
        longest[key] = max(longest.get(key, 0), ticks)
    for (_, _, _, place), ticks in longest.items():
        held[place] += ticks
    capacities = {place: capacity_of(cluster, place) for place in held}
    return {
        place: ticks / capacity / microbatches
        for place, ticks in held.items()
        if (capacity := capacities[place]) is not None
    }


def busiest_ticks(schedule: Schedule, loading: Loading) -> float:
    """Return the load of the busiest engine or link, in ticks per microbatch."""
    return max(loads(schedule, loading).values(), default=0.0)


def _of_tasks(schedule: Schedule) -> Iterator[tuple[Place, int]]:
    """Yield what tasks hold, and for how many ticks; collectives hold links, too."""
    problem, tasks = schedule.problem, schedule.tasks
    chosen = zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True)
    ticks = (schedule.ends - tasks.start).tolist()
    total: Counter[tuple[int, int]] = Counter()
    for key, length in zip(chosen, ticks, strict=True):
        total[key] += length
    for (operator, row), length in total.items():
        alternative = problem.alternatives[operator][row]
        for engine in problem.graph.operators[operator].modes[alternative.mode].engines:
            for device in alternative.devices:
                yield Place(device, engine), length
        for link in problem.collective_links(operator, alternative):
            yield Place(link), length


def _of_transfers(schedule: Schedule) -> Iterator[tuple[int, Place, bool, int]]:
    """Yield what each transfer row holds, whether that is at its source, and its ticks."""
    cluster, moved = schedule.problem.cluster, schedule.transfers
    sends, receives = cluster.transfer_engines
    for row in range(len(moved)):
        timing = schedule.transfer_timing(row)
        source, target = int(moved.source[row]), int(moved.target[row])
        if sends is not None and sends in cluster.devices[source].engines:
            yield row, Place(source, sends), True, timing.occupied
        if receives is not None and receives in cluster.devices[target].engines:
            yield row, Place(target, receives), False, timing.occupied
        for hold in timing.holds:
            starts_here = cluster.links[hold.link].source == cluster.devices[source].name
            yield row, Place(hold.link), starts_here, hold.ticks
