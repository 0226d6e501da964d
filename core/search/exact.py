"""Exact solving of small problems: one model, any solver backend."""

from __future__ import annotations

from attrs import frozen

from parplan.errors import SolverError
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.incumbent import Incumbent

MOST_INTERVALS = 3000
"""Largest model, in intervals, that is handed to a solver in one piece."""

PREFERRED = ("cp-sat", "highs")
LIST = "list"
"""The name that asks for list scheduling alone."""


@frozen
class Engine:
    """Which way a problem is solved.

    Attributes
    ----------
    solver
        Name of the backend; empty for the list scheduler alone.
    intervals
        Estimated number of intervals of the whole model.
    """

    solver: str
    exact: bool
    intervals: int
    description: str


def choose(problem: Problem, rules: Rules, registry: Registry, options: SearchOptions) -> Engine:
    """Return the engine for a problem.

    Raises
    ------
    InputError
        If the solver asked for is unknown.
    SolverError
        If it is known but not available here, with how to install it.
    """
    count = intervals(problem, rules)
    if options.solver == LIST:
        return Engine("", False, count, "list schedules and local search")
    name = options.solver
    if name:
        entry = registry.get("solvers", name, key="search.solver")
        found = registry.solvers[entry.name].value.probe()
        if not found.available:
            raise SolverError(f"is not available: {found.reason}", solver=name)
    else:
        name = next((n for n in PREFERRED if n in registry.solvers), "")
    small = count <= MOST_INTERVALS
    if not name or not small:
        return Engine("", False, count, "list schedules and local search")
    return Engine(name, True, count, f"list schedules, then one model solved by {name}")


def intervals(problem: Problem, rules: Rules) -> int:
    """Estimate the intervals of the whole model: alternatives of tasks, and transfers."""
    graph = problem.graph
    places = [
        {d for row in rows for d in problem.alternatives[o][row].devices}
        for o, rows in enumerate(rules.allowed)
    ]
    total = 0
    for o, rows in enumerate(rules.allowed):
        total += len(problem.microbatches_of(o)) * (len(rows) if len(rows) > 1 else 1)
    for t, producer in enumerate(graph.producers):
        targets = (
            set().union(*(places[c] for c in graph.consumers[t])) if graph.consumers[t] else set()
        )
        if len(targets | places[producer]) > 1:
            total += len(problem.microbatches_of(producer)) * len(targets)
    return total


def solve(
    problem: Problem,
    rules: Rules,
    registry: Registry,
    options: SearchOptions,
    engine: Engine,
    incumbent: Incumbent,
    deadline: float,
) -> None:
    """Solve the whole problem by the engine's solver, starting from the incumbent."""
    raise NotImplementedError
