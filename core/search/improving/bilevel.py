"""The bi-level loop: an upper model assigns, list schedules time it, cuts feed back.

The upper model is a relaxation (load, memory, critical path), so its bound holds for the problem.
What an assignment really takes at least is known only once it is there: that becomes a cut, and
the upper model is solved again, until it has nothing better than the incumbent to offer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

from parplan.contracts import Capability, SolveOptions, Solver, Termination
from parplan.errors import InfeasibleError
from parplan.options import SearchOptions
from parplan.plans import Bound
from parplan.rules import Rules
from parplan.search.bounds import bounds_for_assignment
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.incumbent import Incumbent
from parplan.search.placing.evaluation import Candidate, prepare_assignment
from parplan.search.placing.placement import Placer

MOST_BINARIES = 800
"""Largest upper model, in alternatives of operators to choose from."""

MOST_MIP_HORIZON = 10**8
"""Longest makespan in ticks that a MIP's tolerances can tell from the next one."""

ROUND_S = 5.0
"""Most seconds for one solve of the upper model."""


def can_assign(rules: Rules, solver: Solver, makespan: int) -> bool:
    """Return whether the upper model is of a size and of times that a solver can take."""
    open_rows = [rows for by_group in rules.allowed_by_group for rows in by_group]
    choices = sum(len(rows) for rows in open_rows if len(rows) > 1)
    fits = Capability.CP in solver.capabilities or makespan <= MOST_MIP_HORIZON
    return 0 < choices <= MOST_BINARIES and fits


def bilevel(
    placer: Placer,
    solver: Solver,
    options: SearchOptions,
    incumbent: Incumbent,
    until: float,
) -> Iterator[Candidate]:
    """Yield the best schedule of each assignment that the upper model offers.

    Bounds go to the incumbent. The loop ends when the upper model offers nothing below the
    incumbent, offers the same again, or at ``until`` (on ``time.monotonic``'s clock).
    """
    from parplan.model.assignment_model import AssignmentModel  # loads Pyomo: takes a second

    rules, tick_s = placer.rules, placer.problem.tick_s
    model = AssignmentModel(rules)
    seen: set[tuple[int, ...]] = set()
    while (left := until - time.monotonic()) > 0:
        limits = SolveOptions(min(ROUND_S, left), options.gap, options.workers, options.seed)
        answer = solver.solve(model.pyomo, limits)
        optimal = answer.termination is Termination.OPTIMAL
        bound = answer.objective if optimal else answer.bound
        if bound is not None and math.isfinite(bound) and bound > 0:
            source = f"assignment by {answer.solver} {answer.version}".strip()
            incumbent.add_bounds([Bound(math.ceil(bound - 1e-6) * tick_s, "problem", source, True)])
        if not answer.values or incumbent.gap <= options.gap:
            return
        assignment = model.extract(answer.values)
        key = tuple(assignment[k] for k in sorted(assignment))
        if key in seen:
            return
        seen.add(key)
        least, candidate = _lower(placer, assignment)
        if candidate is not None:
            yield candidate
        model.cut(assignment, least)


def _lower(
    placer: Placer, assignment: Mapping[tuple[int, int], int]
) -> tuple[int, Candidate | None]:
    """Return what an assignment takes at least, in ticks, and its best list schedule if any."""
    bounds = bounds_for_assignment(placer.problem, placer.rules, assignment)
    least = max((round(b.value / placer.problem.tick_s) for b in bounds), default=0)
    try:
        prepared = prepare_assignment(placer, assignment)
    except InfeasibleError:
        return least, None
    return least, best_candidate(prepared, rule_portfolio())
