"""Bounds on the first objective, whatever it is."""

from __future__ import annotations

import attrs

from parplan.contracts import Criterion
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds import combinatorial_bounds, span_bounds

AS_PLANNED = "planned times"
"""Scope of bounds that hold if nothing is random."""


def is_makespan(problem: Problem) -> bool:
    """Return whether the first objective is the makespan."""
    return problem.objectives[0].name == "makespan"


def first_bounds(problem: Problem, rules: Rules) -> list[Bound]:
    """Return the combinatorial bounds on the first objective.

    If that is a statistic over scenarios, they hold for planned times alone, and say so.
    """
    if is_makespan(problem):
        return list(combinatorial_bounds(problem, rules))
    if rules.objectives[0].criterion() is not None:
        return [attrs.evolve(b, scope=AS_PLANNED) for b in combinatorial_bounds(problem, rules)]
    objective = rules.objectives[0]
    value = objective.bound(problem)
    found = [] if value is None else [Bound(value, source=f"{objective.name} bound")]
    if objective.follows is Criterion.LONGEST_SPAN:
        for source, ticks in span_bounds(problem, rules):
            found.append(Bound(objective.from_figure(problem, ticks), source=source))
    return found
