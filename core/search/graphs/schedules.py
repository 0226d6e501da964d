"""Schedules of graphs of any shape: placed by heuristics, timed by list schedules, made exact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from parplan.errors import InfeasibleError
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.realisation import realised
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer


def placed_schedules(lists: ListSchedules) -> Iterator[tuple[str, Placed]]:
    """Yield (name, schedule) of every heuristic that finds one."""
    placed = lists.in_order(lists.order(-upward_ranks(lists.graph)))
    if placed is not None:
        yield "heft", placed


def graph_candidates(
    placer: Placer, lists: ListSchedules, until: float
) -> Iterator[tuple[str, Candidate]]:
    """Yield (name, exact schedule) of the heuristics' placements, the shortest first.

    Parameters
    ----------
    until
        On ``time.monotonic``'s clock; one at least is realised.
    """
    ranked = sorted(placed_schedules(lists), key=lambda found: found[1].makespan)
    done = False
    for name, placed in ranked:
        if done and time.monotonic() > until:
            return
        with contextlib.suppress(InfeasibleError):
            candidate = realised(placer, lists.graph, placed)
            if candidate is not None:
                done = True
                yield name, candidate
