"""Merges that lose nothing: units that some best schedule, or every better one, keeps together.

What is said here holds for the task graph: one device for each unit, in its first mode.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Flags, Real, Whole
from parplan.search.coarsening.balancing import SPAN
from parplan.search.coarsening.contraction import matched
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.merging import Coarsened, composed, merge
from parplan.search.coarsening.presolve import has_shortest_latencies
from parplan.search.graphs.ranks import longest_ways_in, longest_ways_out
from parplan.search.graphs.task_graph import TaskGraph


class Units(NamedTuple):
    """Pairs of units, each as (one, other)."""

    some: Whole
    others: Whole


@frozen(eq=False)
class TogetherMerge:
    """Merges units that belong together, as far as no cycle arises.

    Attributes
    ----------
    some, others
        Pairs of nodes.
    """

    some: Whole
    others: Whole

    def apply(self, dag: Dag) -> Coarsened:
        """Return the graph with these nodes merged.

        O(rounds x pairs x nodes between their ends), rounds up to the log of the largest part.
        """
        chain: list[Coarsened] = []
        last, some, others = dag, self.some, self.others
        while True:
            apart, nodes = some != others, np.arange(len(last))
            ends = some[apart], others[apart]
            mate = matched(last.first, last.pairs.heads, *ends, len(last), SPAN)
            if (mate == nodes).all():
                return composed(dag, chain)
            chain.append(merge(last, np.minimum(mate, nodes)))
            last, part_of = chain[-1].coarse, chain[-1].part_of
            some, others = part_of[some], part_of[others]


def inseparable(graph: TaskGraph, limit: float) -> Units:
    """Return units that every schedule with a makespan below a limit has on one device.

    If a send crosses, its producer's shortest way in and time, the shortest transfer between any
    two devices, and the reader's shortest way out follow one another. Where that is the limit or
    more, no better schedule lets the send cross. O(tasks + readers + devices^2 x sends).
    """
    least, sends = graph.least_ticks(), graph.sends
    nothing = np.zeros(len(sends))
    before = longest_ways_in(graph, least, nothing) + least
    behind = longest_ways_out(graph, least, nothing)
    send = np.repeat(np.arange(len(sends)), np.diff(sends.readers.first))
    producer, reader = sends.producer[send], sends.readers.item
    crossing = before[producer] + _shortest_transfers(graph)[send] + behind[reader]
    some, others = graph.unit[producer], graph.unit[reader]
    kept = (crossing >= limit) & (some != others)
    return Units(some[kept], others[kept])


def _shortest_transfers(graph: TaskGraph) -> Real:
    """Return ``(s,)``, the ticks of each send between the two devices that are nearest for it."""
    routes, found = graph.routes, np.full(len(graph.sends), np.inf)
    for source in range(graph.devices):
        for target in range(graph.devices):
            if source != target and np.isfinite(routes.ticks_per_byte[source, target]):
                hold = np.ceil(graph.sends.bytes * routes.ticks_per_byte[source, target] - 1e-6)
                np.minimum(found, hold + routes.latency[source, target], out=found)
    return found


def weightless(graph: TaskGraph) -> Units:
    """Return (unit, unit it reads from) of units that some best schedule has on one device.

    Such a unit takes no time and no parameters, may go wherever the other may, reads one send of it
    alone, and makes at most one send of no more bytes. Moved to the other's device it ends when the
    other does; where its own send must still cross, it takes the place of the one it read, and is
    no longer. That covers all of its readers if there are two devices only; with more of them
    transfers must not queue, and a detour over the device it stood on must take no less time.
    O(tasks x devices + readers).
    """
    sends, unit = graph.sends, graph.unit
    inputs, outputs = np.diff(sends.inputs.first), np.diff(sends.of_task.first)
    nobody = Units(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    if graph.devices > 2 and not _is_metric(graph):
        return nobody
    once = np.bincount(unit, minlength=graph.units) == 1
    light = once[unit] & (graph.ticks == 0).all(axis=1) & (inputs == 1) & (outputs <= 1)
    light &= np.diff(graph.memory.groups.first)[unit] == 0
    light &= graph.memory.kept_bytes[unit] == 0
    light &= graph.release == 0
    tasks = np.flatnonzero(light)
    read = sends.inputs.item[sends.inputs.first[tasks]]
    alone: Flags = np.diff(sends.readers.first)[read] == 1
    made = np.zeros(len(tasks))
    makes = outputs[tasks] == 1
    made[makes] = sends.bytes[sends.of_task.item[sends.of_task.first[tasks[makes]]]]
    some, others = unit[tasks], unit[sends.producer[read]]
    anywhere = (graph.allowed[some] | ~graph.allowed[others]).all(axis=1)
    kept = alone & (made <= sends.bytes[read]) & anywhere & once[others] & (some != others)
    return Units(some[kept], others[kept])


def _is_metric(graph: TaskGraph) -> bool:
    """Return whether transfers never queue, and take no longer than over a third device."""
    routes = graph.routes
    if len(routes.channels.item) or not has_shortest_latencies(routes):
        return False
    per_byte = routes.ticks_per_byte
    # Times are rounded up: a detour rounds twice, the direct way once.
    return all(
        bool((per_byte <= per_byte[:, [d]] + per_byte[[d], :]).all()) for d in range(len(per_byte))
    )
