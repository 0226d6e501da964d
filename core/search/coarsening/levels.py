"""Placement by levels: parts are placed first, then their members, each level from the one above.

The order of multilevel methods for partitioning (Karypis and Kumar 1998), with schedules instead of
cuts as the measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from attrs import frozen

from parplan import clock
from parplan.scheduling.tables import Whole
from parplan.search.coarsening.merging import Coarsened, invert_all
from parplan.search.coarsening.task_graphs import graph_of_parts
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.ranks import upward_ranks


class Refine(Protocol):
    """A search on placements of a task graph that starts from one of them."""

    def __call__(
        self, lists: ListSchedules, device: Whole | None, until: float, seed: int, /
    ) -> Placed | None:
        """Return the best schedule found until an instant; None if parameters fit nowhere.

        Parameters
        ----------
        device
            Of each unit, to start from; None leaves the start to the search.
        """


@frozen
class Figures:
    """What coarsening cost, in ticks of makespan on the task graph.

    Attributes
    ----------
    sizes
        Units of each level, the finest first.
    coarse
        At the coarsest level, where every part runs in one go.
    uncoarsened
        Of the same placement with operators timed one by one.
    refined
        After refinement at every level.
    """

    sizes: tuple[int, ...]
    coarse: int
    uncoarsened: int
    refined: int

    def in_seconds(self, tick_s: float) -> dict[str, Any]:
        """Return the figures for a plan's provenance."""
        return {
            "sizes": list(self.sizes),
            "coarse_s": self.coarse * tick_s,
            "uncoarsened_s": self.uncoarsened * tick_s,
            "refined_s": self.refined * tick_s,
        }


def place_by_levels(
    lists: ListSchedules, levels: Sequence[Coarsened], refine: Refine, until: float, seed: int = 0
) -> tuple[Placed, Figures] | None:
    """Return a schedule of a task graph, refined from level to level; None if nothing fits.

    The time left is shared evenly by the levels left.

    Parameters
    ----------
    levels
        Coarsenings of the graph's units, the finest first; one at least.
    refine
        Places the parts, and improves what comes from the level above.
    """
    found = coarsest = _at_level(lists, levels, None, refine, until, seed)
    for depth in range(len(levels) - 1, -1, -1):
        if found is None:
            return None
        device = levels[depth].invert(found.device)
        found = _at_level(lists, levels[:depth], device, refine, until, seed)
    if found is None or coarsest is None:
        return None
    device = invert_all(levels, coarsest.device)
    whole = lists.in_order(lists.order(-upward_ranks(lists.graph)), device)
    sizes = (lists.graph.units, *(len(level.coarse) for level in levels))
    uncoarsened = coarsest.makespan if whole is None else whole.makespan
    return found, Figures(sizes, coarsest.makespan, uncoarsened, found.makespan)


def _at_level(
    lists: ListSchedules,
    above: Sequence[Coarsened],
    device: Whole | None,
    refine: Refine,
    until: float,
    seed: int,
) -> Placed | None:
    """Refine a placement of the parts that these coarsenings leave."""
    now = clock.now()
    share = now + max(until - now, 0.0) / (len(above) + 1)
    if not above:
        return refine(lists, device, share, seed)
    part_of = invert_all(above, np.arange(len(above[-1].coarse)))
    graph = graph_of_parts(lists.graph, above[-1].coarse, part_of)
    return refine(ListSchedules(graph), device, share, seed)
