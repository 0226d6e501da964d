"""From a problem to a schedule by levels: coarsen, place the parts, refine, make exact."""

from __future__ import annotations

from attrs import frozen

from parplan.search.coarsening.annealing import annealed
from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.levels import Figures, place_by_levels
from parplan.search.coarsening.paths import heaviest_path
from parplan.search.coarsening.task_graphs import dag_of_units
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.realisation import realised
from parplan.search.placing.evaluation import Candidate
from parplan.search.placing.placement import Placer

MOST_PARTS = 200
"""Parts of the coarsest graph, at most: as many as a second of search can place well."""

LEAST_PARTS = 8
"""Parts for each device, at least: fewer leave a device nothing to choose from."""


@frozen(eq=False)
class ByLevels:
    """A schedule found by levels, and what coarsening cost."""

    candidate: Candidate
    figures: Figures


def candidate_by_levels(
    placer: Placer, lists: ListSchedules, until: float, seed: int
) -> ByLevels | None:
    """Return the schedule found by levels; None if the graph cannot be coarsened, or nothing fits.

    Raises
    ------
    InfeasibleError
        If parameters or one task alone do not fit in the placement, or modes do not couple.
    """
    dag = dag_of_units(lists.graph, modules_of_units(placer))
    levels = tuple(coarsening_of(dag, lists.graph.devices).levels(dag))
    if not levels:
        return None
    found = place_by_levels(lists, levels, annealed, until, seed)
    if found is None:
        return None
    placed, figures = found
    candidate = realised(placer, lists.graph, placed)
    return None if candidate is None else ByLevels(candidate, figures)


def coarsening_of(dag: Dag, devices: int) -> BalancedMerge:
    """Return how far to coarsen: to few parts, but not so far that parts wait for one another.

    No path may get heavier than the heaviest one is, or than work divided over all devices.
    """
    heaviest = max(heaviest_path(dag), float(dag.least_work.sum()) / devices)
    return BalancedMerge(min(MOST_PARTS, max(LEAST_PARTS * devices, len(dag) // 5)), heaviest)


def modules_of_units(placer: Placer) -> list[str]:
    """Return the path in the model's hierarchy of each unit of the placer's task graph."""
    operators = placer.problem.graph.operators
    blocks = [operators[members[0]].module for members in placer.blocks.members]
    return blocks * len(placer.groups)
