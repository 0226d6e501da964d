"""The check of a plan: its schedule, its objective values and its bound."""

from __future__ import annotations

import math
from collections.abc import Iterator

from parplan.checking.schedules import check_schedule
from parplan.contracts import Criterion, Objective, Violation
from parplan.errors import PluginError
from parplan.plans import Bound, Plan
from parplan.registry import Registry
from parplan.rules import Rules, make_rules

# Relative difference of two floats that count as the same value.
SAME = 1e-9


def check_plan(plan: Plan, registry: Registry) -> tuple[Violation, ...]:
    """Return every breach in a plan: of its schedule, its objective values and its bound.

    Objective values are recomputed. A bound that is not claimed by a solver is recomputed too; a
    claimed one can only be compared with the value.

    Raises
    ------
    PluginError
        If a constraint or an objective raises.
    """
    if plan.schedule.problem is not plan.problem and plan.schedule.problem != plan.problem:
        return (Violation("plan", plan.problem.name, "the schedule is for another problem"),)
    rules = make_rules(plan.problem, registry)
    found = check_schedule(plan.schedule, rules)
    if any(v.rule in ("tasks", "plan") for v in found):
        return found  # no value can be computed of a schedule that is not whole
    return (*found, *_values(plan, rules), *_bound(plan, rules))


def _same(a: float, b: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=SAME, abs_tol=1e-15)


def _value(objective: Objective, plan: Plan) -> float:
    try:
        return float(objective.value(plan.schedule))
    except Exception as error:
        raise PluginError(
            f"raised {type(error).__name__}: {error}", plugin=objective.name, hook="value"
        ) from error


def _values(plan: Plan, rules: Rules) -> Iterator[Violation]:
    names = [objective.name for objective in rules.objectives]
    if list(plan.objectives) != names:
        text = f"the plan states {list(plan.objectives)}, the problem asks for {names}"
        yield Violation("objective", "objectives", text)
    for objective in rules.objectives:
        stated = plan.objectives.get(objective.name)
        value = _value(objective, plan)
        if stated is not None and not _same(stated, value):
            unit = f" {objective.unit}" if objective.unit else ""
            text = f"{objective.name} is {value:.12g}{unit}; the plan states {stated:.12g}{unit}"
            yield Violation("objective", objective.name, text, abs(value - stated))


def _bound(plan: Plan, rules: Rules) -> Iterator[Violation]:
    objective = rules.objectives[0]
    bound, value = plan.bound, _value(objective, plan)
    met = bound is not None and _same(bound.value, value)
    if plan.status == "optimal" and not met:
        shown = "none" if bound is None else f"{bound.value:.12g}"
        text = f"the plan says it is optimal; value {value:.12g}, bound {shown}"
        yield Violation("bound", objective.name, text)
    if bound is None:
        return
    if math.isnan(bound.value) or bound.scope != "problem":
        text = f"{bound.value:.12g} of scope '{bound.scope}' is no bound of the problem"
        yield Violation("bound", objective.name, text)
        return
    if not met and (bound.value > value) is not objective.maximize:
        text = f"bound {bound.value:.12g} is beyond the value {value:.12g}, so it is wrong"
        yield Violation("bound", bound.source, text, abs(bound.value - value))
    if not bound.claimed:
        yield from _unproven(bound, objective, rules)


def _unproven(bound: Bound, objective: Objective, rules: Rules) -> Iterator[Violation]:
    """Yield a breach if the bound is better than all that can be computed again."""
    sign = -1.0 if objective.maximize else 1.0
    again = [sign * b for b in recomputed_bounds(objective, rules, bound.value)]
    best = max(again, default=-math.inf)
    if sign * bound.value > best and not _same(sign * bound.value, best):
        shown = f"{sign * best:.12g}" if again else "none"
        text = (
            f"bound {bound.value:.12g} by '{bound.source}' cannot be computed again; best: {shown}"
        )
        yield Violation("bound", bound.source, text)


def recomputed_bounds(objective: Objective, rules: Rules, enough: float = math.inf) -> list[float]:
    """Return the bounds of scope "problem" on the first objective that need no solver.

    All of them, or as many as it takes until one of a makespan is ``enough``.
    """
    # The checker shares no code with the search, save that a bound can only be computed again by
    # what computed it; so it is imported here alone.
    from parplan.search.bounds import combinatorial_bounds, span_bounds

    problem, own = rules.problem, objective.bound(rules.problem)
    found = [] if own is None else [own]
    if objective.name == "makespan":
        bounds = combinatorial_bounds(problem, rules, enough)
        found += [bound.value for bound in bounds if bound.scope == "problem"]
    if objective.follows is Criterion.LONGEST_SPAN:
        found += [objective.from_figure(problem, t) for _, t in span_bounds(problem, rules)]
    return found
