"""Schedules of graphs of any shape: placed by heuristics, timed by list schedules, made exact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

from parplan import clock
from parplan.contracts import PlacementHeuristic, Proposal
from parplan.errors import InfeasibleError, PluginError
from parplan.registry import Registered
from parplan.rules import guarded
from parplan.search.graphs.annealing import annealed, moves_until
from parplan.search.graphs.from_problem import with_activations
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.realisation import realised
from parplan.search.graphs.variation import varied
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

Heuristics = Iterable[Registered[PlacementHeuristic]]


def proposed(lists: ListSchedules, heuristic: Registered[PlacementHeuristic]) -> Proposal | None:
    """Return what a heuristic proposes, as it is if the core can use it.

    Raises
    ------
    PluginError
        If the heuristic raises, or its arrays have other shapes than the graph.
    """
    proposal = guarded(heuristic, "place", lambda: heuristic.value.place(lists.graph))
    if proposal is not None:
        _check(lists, proposal, heuristic)
    return proposal


def completed(lists: ListSchedules, proposal: Proposal) -> Placed | None:
    """Return the schedule of a proposal; None if it does not fit."""
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


VARIED = "earliest finish under tolls"
"""What variants of the heuristics' schedules are called."""

VARIED_SHARE = 0.4
"""Part of the time for them; most of the rest is for annealing."""

MOST_EXACT = 3
"""First schedules that are made exact, at most."""


def first_placed(
    lists: ListSchedules, heuristics: Heuristics, until: float, seed: int, target: int = 0
) -> list[tuple[str, Placed]]:
    """Return (name, schedule) of the heuristics and of variants of them, the shortest first.

    Parameters
    ----------
    until
        On ``parplan.clock``; nothing begins after it but the first proposal that fits and
        one variant.
    target
        A makespan this short ends it (a proven bound, in ticks).
    """
    found: list[tuple[str, Placed]] = []
    proposals = []
    for heuristic in heuristics:
        if found and clock.now() > until:
            break
        proposal = proposed(lists, heuristic)
        placed = None if proposal is None else completed(lists, proposal)
        if proposal is not None and placed is not None:
            found.append((heuristic.name, placed))
            proposals.append(proposal)
            if placed.makespan <= target:
                return [found[-1]]
    found += [(VARIED, placed) for placed in varied(lists, proposals, until, seed, target)][-1:]
    return sorted(found, key=lambda one: one[1].makespan)


def graph_candidates(
    placer: Placer,
    lists: ListSchedules,
    heuristics: Heuristics,
    until: float,
    seed: int,
    target: int = 0,
) -> Iterator[tuple[str, Candidate]]:
    """Yield (name, exact schedule) of the first schedules and of what annealing makes of the best.

    Parameters
    ----------
    until
        On ``parplan.clock``; one at least is made exact, if memory allows any.
    target
        A makespan this short ends the search (a proven bound, in ticks).
    """
    now = clock.now()
    varied_until = now + VARIED_SHARE * max(until - now, 0.0)
    for tried in _more_careful(placer, lists):
        first = first_placed(tried, heuristics, varied_until, seed, target)
        found = False
        for name, candidate in _first_exact(placer, tried, first, until):
            found = True
            yield name, candidate
        if found:
            if clock.now() < until and first[0][1].makespan > target:
                yield from _annealed_exact(placer, tried, first[0][1], until, seed)
            return


def _more_careful(placer: Placer, lists: ListSchedules) -> Iterator[ListSchedules]:
    """Yield list schedules as they are, then such as leave room for activations, too."""
    yield lists
    if any(placer.saved_bytes):
        count = placer.problem.workload.microbatches
        for microbatches in sorted({1, -(-count // 2), count}):
            yield ListSchedules(with_activations(lists.graph, placer, microbatches))


def _first_exact(
    placer: Placer, lists: ListSchedules, first: Iterable[tuple[str, Placed]], until: float
) -> Iterator[tuple[str, Candidate]]:
    """Yield the exact schedules of the shortest few; no second one begins after ``until``."""
    done = 0
    for name, placed in first:
        if done == MOST_EXACT or (done and clock.now() > until):
            return
        candidate = exact_candidate(placer, lists, placed)
        if candidate is not None:
            done += 1
            yield name, candidate


def _annealed_exact(
    placer: Placer, lists: ListSchedules, start: Placed, until: float, seed: int
) -> Iterator[tuple[str, Candidate]]:
    """Yield the exact schedule of what annealing makes of a start, if that is better."""
    better = list(annealed(lists, start, moves_until(lists, start, until), seed, until))
    candidate = exact_candidate(placer, lists, better[-1]) if better else None
    if candidate is not None:
        yield "annealed placement", candidate


def exact_candidate(placer: Placer, lists: ListSchedules, placed: Placed) -> Candidate | None:
    """Return the exact schedule; None if parameters or the memory of tensors do not allow it."""
    with contextlib.suppress(InfeasibleError):
        return realised(placer, lists.graph, placed)
    return None
