"""What is said of a small problem: by searches, by models, by the loop of two levels alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
from attrs import frozen

from parplan import clock
from parplan.contracts import (
    Answer,
    Availability,
    Report,
    SolveOptions,
    Solver,
    Termination,
)
from parplan.errors import InfeasibleError, LimitError
from parplan.model.granule import granule
from parplan.model.schedule_model import ModelOptions, ScheduleModel
from parplan.options import SearchOptions
from parplan.plans import Bound
from parplan.plugins.solvers import cp_sat
from parplan.plugins.solvers.mip import MipSolver
from parplan.plugins.solvers.mip import solve_here as solve_mip_here
from parplan.problem import Problem
from parplan.registry import Registered, Registry
from parplan.rules import Rules
from parplan.search.assigning.loop import can_assign, search_assignments
from parplan.search.improving.heuristics import first_candidates
from parplan.search.incumbent import Incumbent
from parplan.search.objective_bounds import is_makespan
from parplan.search.orchestrator import search
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer

SOLVERS = ("cp-sat", "highs", "scip", "cbc")

LIMIT_S = 20.0
"""Seconds of a search or a solve: all but a few end by a proof long before."""

LIST_S = 1.0
"""The same where no solver proves anything."""

START_S = 0.5
"""Seconds for the schedules that the loop of two levels starts from."""


@frozen
class Claim:
    """What somebody says of a problem, in the unit of its objective.

    Attributes
    ----------
    value
        Of a plan that holds under the check; None if there is none.
    bound
        What no plan undercuts; None if nothing is said.
    proven
        Whether the value is said to be the least, or without a value, that there is no plan.
    faults
        What went wrong on the way, and what the check refused, without an end to it all.
    """

    value: float | None = None
    bound: float | None = None
    proven: bool = False
    faults: tuple[str, ...] = ()

    @property
    def no_plan(self) -> bool:
        """Whether it says that there is no plan."""
        return self.proven and self.value is None


Way = Callable[[Problem, Rules, Registry], Claim]
"""Finds out about a problem, and makes a claim."""


class _Here(Solver):
    """A built-in solver in this process, which is much faster for models of a few rows."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.name, self.capabilities = solver.name, solver.capabilities  # type: ignore[misc]  # as it

    def probe(self) -> Availability:
        """Say that it runs; a solve says otherwise where it does not."""
        return Availability(True)

    def solve(
        self,
        model: Any,
        options: SolveOptions,
        warm_start: Mapping[str, float] | None = None,
        report: Report | None = None,
    ) -> Answer:
        """Solve without a process of its own."""
        if isinstance(self.solver, MipSolver):
            adapter = self.solver.adapter
            return solve_mip_here(None, model, options, warm_start, adapter=adapter, name=self.name)
        return cp_sat.solve_here(None, model, options, warm_start)


def in_this_process(registry: Registry) -> Registry:
    """Return the registry with the usual solvers in this process, and nothing that forks."""
    solvers: dict[str, Registered[Solver]] = {
        name: attrs.evolve(registry.solvers[name], value=_Here(registry.solvers[name].value))
        for name in SOLVERS
        if name in registry.solvers
    }
    return attrs.evolve(registry, solvers=solvers, executors={})


def by_search(solver: str, problem: Problem, rules: Rules, registry: Registry) -> Claim:
    """Return what the whole search says, with one solver or with none."""
    seconds = LIST_S if solver == "list" else LIMIT_S
    options = SearchOptions(solver=solver, time_limit_s=seconds, workers=1)
    try:
        plan = search(problem, rules, registry, options)
    except InfeasibleError:
        return Claim(proven=True)
    except LimitError:
        return Claim()
    faults = (
        *(f"{fault['stage']}: {fault['message']}" for fault in plan.provenance["failures"]),
        *(f"{fault['found_by']}: {fault['message']}" for fault in plan.provenance["rejected"]),
    )
    whole = plan.bound is not None and plan.bound.scope == "problem"
    bound = plan.bound.value if whole and plan.bound is not None else None
    return Claim(plan.value, bound, plan.status == "optimal", faults)


def by_model(solver: str, problem: Problem, rules: Rules, registry: Registry) -> Claim:
    """Return what a solver alone says of the whole model, in the granule of its times."""
    only = attrs.evolve(rules, objectives=rules.objectives[:1])
    try:
        model = ScheduleModel(only, ModelOptions(granule(rules)))
    except InfeasibleError:
        return Claim(proven=True)
    limits = SolveOptions(LIMIT_S, workers=1)
    answer = registry.solvers[solver].value.solve(model.pyomo, limits)
    if answer.termination is Termination.INFEASIBLE:
        return Claim(proven=True)
    if answer.termination in (Termination.FAILED, Termination.REFUSED):
        return Claim(faults=(answer.message,))
    objective = rules.objectives[0]
    bound = None if answer.bound is None else objective.from_expression(model, answer.bound)
    if not answer.values:
        return Claim(bound=bound)
    incumbent = Incumbent(rules)
    incumbent.offer(model.extract(answer.values), solver)
    return _claimed(incumbent, bound, optimal=answer.termination is Termination.OPTIMAL)


def by_levels(solver: str, problem: Problem, rules: Rules, registry: Registry) -> Claim:
    """Return what the loop of two levels alone makes of the worst start; nothing without one."""
    if not (is_makespan(problem) and can_assign(rules)):
        return Claim()
    placer = Placer(problem, rules, find_blocks(problem, rules))
    incumbent = Incumbent(rules)
    starts = [candidate for _, candidate in first_candidates(placer, clock.now() + START_S)]
    if not starts:
        return Claim()
    worst = max(starts, key=lambda candidate: candidate.figure)
    if not incumbent.offer(Finisher(placer).finish(worst), "start"):
        return _claimed(incumbent, None, optimal=False)
    incumbent.add_bounds([Bound(0.0, "problem", "no time")])
    options = SearchOptions(time_limit_s=LIMIT_S, workers=1)
    chosen = registry.solvers[solver].value
    search_assignments(placer, chosen, options, incumbent, clock.now() + LIMIT_S)
    bound = None if incumbent.bound is None else incumbent.bound.value
    return _claimed(incumbent, bound, optimal=incumbent.gap == 0)


def _claimed(incumbent: Incumbent, bound: float | None, *, optimal: bool) -> Claim:
    faults = (
        *(f"{stage}: {message}" for stage, message in incumbent.failures),
        *(f"{by}: {violation.message}" for by, violation in incumbent.rejected),
    )
    value = incumbent.values[0] if incumbent.values else None
    return Claim(value, bound, optimal and value is not None, faults)


SEARCHES: Mapping[str, Way] = {
    name: partial(by_search, name) for name in ("list", "cp-sat", "highs")
}
"""Searches as ``parplan plan`` runs them."""

MODELS: Mapping[str, Way] = {
    f"model by {name}": partial(by_model, name) for name in ("cp-sat", "highs", "scip", "cbc")
}
"""Solvers alone on the whole model."""

LEVELS: Mapping[str, Way] = {
    f"levels by {name}": partial(by_levels, name) for name in ("cp-sat", "highs", "scip", "cbc")
}
"""Solvers that drive the loop of two levels alone."""
