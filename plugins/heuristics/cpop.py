"""CPOP: the critical path on the device that runs it fastest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.scheduling.tables import Real, Whole
from parplan.search.graphs.ranks import downward_ranks, upward_ranks
from parplan.search.graphs.task_graph import TaskGraph

EQUAL = 1e-9
"""Lengths of paths this close, relatively, are equal."""


class Cpop(PlacementHeuristic):
    """Critical path on a processor (Topcuoglu, Hariri, Wu 2002, section 4.2)."""

    name: ClassVar[str] = "cpop"

    def place(self, graph: TaskGraph) -> Proposal:
        """Return lengths of the longest paths through tasks as priorities, and one path's device.

        Units of the path that may not go there, or whose parameters do not fit beside those of the
        units before, are left to the core.
        """
        through = upward_ranks(graph) + downward_ranks(graph)
        units = list(dict.fromkeys(graph.unit[critical_path(graph, through)].tolist()))
        work = np.zeros((graph.units, graph.devices))
        np.add.at(work, graph.unit, np.where(graph.ticks >= 0, graph.ticks, 0))
        time = np.where(graph.allowed, work, np.inf)[units].sum(axis=0)
        if not np.isfinite(time).any():
            return Proposal(-through)
        chosen = int(time.argmin())
        device = np.full(graph.units, -1, dtype=np.int64)
        memory, present = graph.memory, np.zeros(len(graph.memory.group_bytes), dtype=np.bool_)
        room = float(memory.room[chosen])
        for unit in units:
            fresh = [g for g in memory.groups.row(unit).tolist() if not present[g]]
            room -= float(memory.kept_bytes[unit]) + float(memory.group_bytes[fresh].sum())
            if room < 0:
                break
            present[fresh] = True
            device[unit] = chosen
        return Proposal(-through, device)


def critical_path(graph: TaskGraph, through: Real) -> Whole:
    """Return the tasks of a longest path, from the first to the last.

    Parameters
    ----------
    through
        ``(n,)``, length of the longest path through each task.
    """
    sends = graph.sends
    entries = np.flatnonzero(np.diff(sends.inputs.first) == 0)
    path = [int(entries[through[entries].argmax()])]
    length = through[path[0]]
    while True:
        first, last = sends.of_task.first[path[-1]], sends.of_task.first[path[-1] + 1]
        readers = sends.readers.item[sends.readers.first[first] : sends.readers.first[last]]
        on_path = readers[through[readers] >= length * (1 - EQUAL)]
        if not len(on_path):
            return np.array(path, dtype=np.int64)
        path.append(int(on_path[0]))
