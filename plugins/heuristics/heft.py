"""HEFT: the task with the longest way to the end first, each where it ends first."""

from __future__ import annotations

from typing import ClassVar

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.task_graph import TaskGraph


class Heft(PlacementHeuristic):
    """Heterogeneous earliest finish time (Topcuoglu, Hariri, Wu 2002, section 4.1)."""

    name: ClassVar[str] = "heft"

    def place(self, graph: TaskGraph) -> Proposal:
        """Return upward ranks as priorities; the core chooses devices by earliest finish."""
        return Proposal(-upward_ranks(graph))
