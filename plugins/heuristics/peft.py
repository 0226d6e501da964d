"""PEFT: earliest finish with a look ahead at what the rest takes at best."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.scheduling.tables import Real
from parplan.search.graphs.task_graph import TaskGraph


class Peft(PlacementHeuristic):
    """Predict earliest finish time (Arabnejad, Barbosa 2014, equations 2 and 3)."""

    name: ClassVar[str] = "peft"

    def place(self, graph: TaskGraph) -> Proposal:
        """Return mean optimistic costs as priorities, and the costs as look ahead."""
        costs = optimistic_costs(graph)
        return Proposal(-costs.mean(axis=1), lookahead=costs)


def optimistic_costs(graph: TaskGraph) -> Real:
    """Return ``(n, d)``, the longest way from each task's end on a device, each reader at its best.

    Waiting for devices and links is not counted. O(edges x devices).
    """
    sends, transfer = graph.sends, graph.mean_transfer_ticks()
    durations = np.where(graph.ticks >= 0, graph.ticks, np.inf)
    costs = np.zeros(graph.ticks.shape)
    ways = np.zeros(graph.ticks.shape)
    best = np.zeros(len(graph))
    for task in graph.order[::-1].tolist():
        for send in range(sends.of_task.first[task], sends.of_task.first[task + 1]):
            readers = sends.readers.row(send)
            if len(readers):
                elsewhere = best[readers, None] + transfer[send]
                least = np.minimum(ways[readers], elsewhere).max(axis=0)
                np.maximum(costs[task], least, out=costs[task])
        ways[task] = costs[task] + durations[task]
        best[task] = ways[task].min()
    return costs
