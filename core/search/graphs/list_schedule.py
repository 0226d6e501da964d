"""List schedules of task graphs: in the order of priorities, where no device is given the best one.

O(edges x devices + tasks x log tasks) where devices are chosen, O(edges + tasks x log tasks) where
they are given.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from parplan.scheduling.tables import Real, Whole
from parplan.search.graphs.kernel import NEVER, Flat, place_in_order, ready_order
from parplan.search.graphs.task_graph import TaskGraph

OPEN = -1
"""The device of a unit that has none yet."""


@frozen(eq=False)
class Placed:
    """A schedule of a task graph.

    Attributes
    ----------
    order
        ``(n,)``, in which tasks were taken; with the same devices it leads here again.
    device
        ``(u,)``, of each unit; ``OPEN`` for units without tasks.
    starts
        ``(n,)``, in ticks.
    arrivals
        ``(s, d)``, of each send on each device; -1 without a transfer.
    """

    order: Whole
    device: Whole
    starts: Whole
    arrivals: Whole
    makespan: int


class ListSchedules:
    """A task graph made ready for many list schedules."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        sends, routes, memory = graph.sends, graph.routes, graph.memory
        self.flat = Flat(
            graph.unit,
            graph.ticks,
            graph.lane,
            graph.lanes,
            graph.release,
            graph.allowed,
            sends.producer,
            sends.bytes,
            sends.inputs.first,
            sends.inputs.item,
            routes.ticks_per_byte,
            routes.latency,
            routes.channels.first,
            routes.channels.item,
            routes.channel_count,
            memory.room,
            memory.groups.first,
            memory.groups.item,
            memory.group_bytes,
            memory.kept_bytes,
        )
        self._position = np.argsort(graph.order).astype(np.int64)
        self._any_device = np.full(graph.units, OPEN, dtype=np.int64)
        self._no_lookahead = np.zeros(graph.ticks.shape)
        self._no_rest = np.zeros(len(graph), dtype=np.int64)

    def order(self, priority: Real) -> Whole:
        """Return the tasks in the order in which they leave a queue of the ready ones.

        Parameters
        ----------
        priority
            ``(n,)``, lower goes first.
        """
        sends = self.graph.sends
        return np.asarray(
            ready_order(
                np.asarray(priority, dtype=float),
                np.diff(sends.inputs.first),
                sends.of_task.first,
                sends.readers.first,
                sends.readers.item,
                self._position,
            )
        )

    def in_order(
        self,
        order: Whole,
        device: Whole | None = None,
        lookahead: Real | None = None,
        toll: float = 0.0,
        limit: int = NEVER,
        rest: Whole | None = None,
    ) -> Placed | None:
        """Return the schedule that takes tasks in an order; None if one has no place, or is late.

        Parameters
        ----------
        order
            A topological order of the tasks.
        device
            ``(u,)``, of each unit; one that is ``OPEN``, or all by default, goes where its first
            task ends first and its parameters fit.
        lookahead
            ``(n, d)``, added to the end of a task when its device is chosen.
        toll
            Ticks added for each tick for which a transfer would hold its route.
        limit
            The makespan must be below it.
        rest
            ``(n,)``, ticks that at least pass from the start of a task to the end.
        """
        chosen = self._any_device.copy() if device is None else device.copy()
        starts, arrivals, makespan, _ = place_in_order(
            self.flat,
            order,
            chosen,
            self._no_lookahead if lookahead is None else lookahead,
            toll,
            self._no_rest if rest is None else rest,
            limit,
        )
        return None if makespan >= NEVER else Placed(order, chosen, starts, arrivals, int(makespan))
