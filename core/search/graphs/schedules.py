"""Schedules of graphs of any shape: placed by heuristics, timed by list schedules, made exact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

import numpy as np

from parplan.contracts import PlacementHeuristic, Proposal
from parplan.errors import InfeasibleError, PluginError
from parplan.registry import Registered
from parplan.rules import guarded
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.realisation import realised
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

Heuristics = Iterable[Registered[PlacementHeuristic]]


def completed(lists: ListSchedules, heuristic: Registered[PlacementHeuristic]) -> Placed | None:
    """Return the schedule of a heuristic's proposal; None if it has none, or none that fits.

    Raises
    ------
    PluginError
        If the heuristic raises, or its arrays have other shapes than the graph.
    """
    proposal = guarded(heuristic, "place", lambda: heuristic.value.place(lists.graph))
    if proposal is None:
        return None
    _check(lists, proposal, heuristic)
    order = lists.order(proposal.priority)
    return lists.in_order(order, proposal.device, proposal.lookahead)


def _check(
    lists: ListSchedules, proposal: Proposal, heuristic: Registered[PlacementHeuristic]
) -> None:
    graph = lists.graph
    for what, wanted in (
        ("priority", (len(graph),)),
        ("device", (graph.units,)),
        ("lookahead", graph.ticks.shape),
    ):
        value = getattr(proposal, what)
        found = None if value is None else np.shape(value)
        if found is not None and found != wanted:
            message = f"proposed {what} of shape {found} for a graph that needs {wanted}"
        elif what == "device" and value is not None and np.max(value) >= graph.devices:
            message = f"proposed device {np.max(value)} of {graph.devices}, counted from 0"
        else:
            continue
        raise PluginError(
            message,
            plugin=heuristic.name,
            hook="place",
            distribution=heuristic.distribution or None,
        )


def proposed_schedules(
    lists: ListSchedules, heuristics: Heuristics, until: float
) -> Iterator[tuple[str, Placed]]:
    """Yield (name, schedule) of every heuristic that finds one; after ``until`` no more begin."""
    found = False
    for heuristic in heuristics:
        if found and time.monotonic() > until:
            return
        placed = completed(lists, heuristic)
        if placed is not None:
            found = True
            yield heuristic.name, placed


def graph_candidates(
    placer: Placer, lists: ListSchedules, heuristics: Heuristics, until: float
) -> Iterator[tuple[str, Candidate]]:
    """Yield (name, exact schedule) of the heuristics' placements, the shortest first.

    Parameters
    ----------
    until
        On ``time.monotonic``'s clock; one at least is made exact.
    """
    found = proposed_schedules(lists, heuristics, until)
    done = False
    for name, placed in sorted(found, key=lambda one: one[1].makespan):
        if done and time.monotonic() > until:
            return
        with contextlib.suppress(InfeasibleError):
            candidate = realised(placer, lists.graph, placed)
            if candidate is not None:
                done = True
                yield name, candidate
