"""From a problem to a schedule by levels: coarsen, place the parts, refine, make exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.dominance import TogetherMerge, inseparable, weightless
from parplan.search.coarsening.levels import Figures, place_by_levels
from parplan.search.coarsening.merging import Coarsened
from parplan.search.coarsening.paths import heaviest_path
from parplan.search.coarsening.presolve import without_implied_sends
from parplan.search.coarsening.refining import refined
from parplan.search.coarsening.repeats import RepeatedMerge
from parplan.search.coarsening.task_graphs import dag_of_units
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.realisation import realised
from parplan.search.graphs.task_graph import TaskGraph
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

FEWEST_BLOCKS = 100
"""Blocks of the smallest graph that is coarsened: fewer are searched as they are."""

BLOCKS_PER_SECOND = 20_000
"""How fast graphs are coarsened, roughly."""

MOST_PARTS = 200
"""Parts of the coarsest graph, at most: as many as a second of search can place well."""

LEAST_PARTS = 8
"""Parts for each device, at least: fewer leave a device nothing to choose from."""

SHRINKING = 5
"""Operators of a small graph for each part."""


@frozen(eq=False)
class ByLevels:
    """What was found by levels.

    Attributes
    ----------
    candidate
        The exact schedule; None if it is not below the limit, or memory does not allow it.
    figures
        What coarsening cost.
    """

    candidate: Candidate | None
    figures: Figures


def candidate_by_levels(
    placer: Placer, lists: ListSchedules, limit: float, until: float, seed: int
) -> ByLevels | None:
    """Return what is found by levels; None if the graph cannot be coarsened, or nothing fits.

    Parameters
    ----------
    lists
        Of the placer's problem.
    limit
        Makespan in ticks that a schedule must be below to be of use.

    Raises
    ------
    InfeasibleError
        If parameters or one task alone do not fit in the placement, or modes do not couple.
    """
    graph = lists.graph
    levels = tuple(levels_of(graph, dag_of_units(graph, modules_of_units(placer)), limit))
    if not levels:
        return None
    less = without_implied_sends(graph)
    fewer = lists if less is graph else ListSchedules(less)
    found = place_by_levels(fewer, levels, refined, until, seed)
    if found is None:
        return None
    placed, figures = found
    better = placed.makespan < limit
    return ByLevels(realised(placer, graph, placed) if better else None, figures)


def can_be_coarsened(placer: Placer, seconds: float) -> bool:
    """Return whether a graph is worth coarsening, and half of the time is enough for that."""
    return FEWEST_BLOCKS <= len(placer.blocks) <= seconds / 2 * BLOCKS_PER_SECOND


def levels_of(graph: TaskGraph, dag: Dag, limit: float) -> Iterator[Coarsened]:
    """Yield coarsenings of a task graph's units: what loses nothing, repeated blocks, all the rest.

    It ends where parts would wait for one another: no path may get heavier than the heaviest one
    is, or than the work divided over all devices.

    Parameters
    ----------
    dag
        The graph of the units.
    limit
        As of ``candidate_by_levels``.
    """
    size = min(MOST_PARTS, max(LEAST_PARTS * graph.devices, len(dag) // SHRINKING))
    heaviest = max(heaviest_path(dag), float(dag.least_work.sum()) / graph.devices)
    light, tied = weightless(graph), inseparable(graph, limit)
    # A unit moved to what it reads leaves a schedule as short: so both may be merged at once.
    together = TogetherMerge(*(np.concatenate(ends) for ends in zip(light, tied, strict=True)))
    for step in (together, RepeatedMerge(size)):
        found = step.apply(dag)
        if len(found.coarse) < len(dag) and heaviest_path(found.coarse) <= heaviest:
            yield found
            dag = found.coarse
    yield from BalancedMerge(size, heaviest).levels(dag)


def modules_of_units(placer: Placer) -> list[str]:
    """Return the path in the model's hierarchy of each unit of the placer's task graph."""
    operators = placer.problem.graph.operators
    blocks = [operators[members[0]].module for members in placer.blocks.members]
    return blocks * len(placer.groups)
