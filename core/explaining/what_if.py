"""What a change of the problem would give: the changed problem is searched, nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import attrs
from attrs import frozen

from parplan.errors import InfeasibleError, InputError, LimitError
from parplan.explaining.carrying import carried
from parplan.explaining.changes import Change
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.orchestrator import search

AS_IT_IS = "nothing: searched on as it is"
"""How the problem itself, searched again, is named."""

EQUAL = 1e-9
"""Values this close, relatively, are equal."""


class Verdict(StrEnum):
    """How sure a gain is.

    ``PROVEN``: no plan of the problem as it is can be so good. ``WITHIN_GAP``: the plan found is
    better, but the problem as it is may have one like it. ``NOTHING``: proven that no plan of the
    changed problem is better. ``NOT_FOUND``: none was found, and none is excluded. ``OTHER_WORK``:
    the changed problem does other work, so that values cannot be compared. ``NO_PLAN``: none.
    """

    PROVEN = "proven"
    WITHIN_GAP = "within the gap"
    NOTHING = "nothing"
    NOT_FOUND = "not found"
    OTHER_WORK = "other work"
    NO_PLAN = "no plan"


@frozen
class WhatIf:
    """The answer to one question.

    Attributes
    ----------
    change
        In words.
    value, bound
        Of the first objective for the changed problem; None where there is none.
    gain
        By how much the plan found is better than the plan in question, in the objective's unit.
    sure, possible
        The gain that is proven to be due to the change, and the most that any plan of the changed
        problem could gain; None where no bound says so.
    reason
        Why there is no plan.
    microbatches
        Of the changed problem.
    """

    change: str
    verdict: Verdict
    value: float | None = None
    bound: float | None = None
    gain: float = 0.0
    sure: float = 0.0
    possible: float | None = None
    reason: str = ""
    microbatches: int = 1


def what_if(
    plan: Plan, changes: Sequence[Change], registry: Registry, options: SearchOptions
) -> tuple[WhatIf, ...]:
    """Return what each change gives, searched one after another from the plan.

    Where the plan is not proven to be best, the problem as it is comes first, searched for as
    long: whatever it gains owes nothing to any change, and the others are compared with it.

    Parameters
    ----------
    options
        Of each search, its time limit included.

    Raises
    ------
    InputError
        If a change makes no sense for the problem.

    Notes
    -----
    Ctrl-C ends the search that is under way, and leaves out those after it.
    """
    variants = [(str(change), change.apply(plan.problem)) for change in changes]
    found: list[WhatIf] = []
    best = plan
    if plan.gap != 0.0 and variants:
        again = searched(plan.problem, plan.schedule, registry, options)
        if isinstance(again, Plan):
            found.append(compared(AS_IT_IS, plan, again, registry))
            best = _better(plan, again, registry)
            if _is_interrupted(again):
                return tuple(found)
    for words, problem in variants:
        answer = searched(problem, best.schedule, registry, options)
        if isinstance(answer, Plan):
            found.append(compared(words, best, answer, registry))
            if _is_interrupted(answer):
                break
        else:
            found.append(WhatIf(words, Verdict.NO_PLAN, reason=answer))
    return tuple(found)


def searched(
    problem: Problem, start: Schedule, registry: Registry, options: SearchOptions
) -> Plan | str:
    """Return the plan of a problem, searched from another one's schedule; why not, as text."""
    rules = make_rules(problem, registry)
    try:
        given = carried(start, problem)
    except InputError:
        given = None
    try:
        return search(problem, rules, registry, options, given=given)
    except (InfeasibleError, LimitError) as error:
        return str(error)


def compared(words: str, plan: Plan, other: Plan, registry: Registry) -> WhatIf:
    """Return how the plan of a changed problem stands beside the plan in question."""
    sign = -1.0 if _maximises(plan, registry) else 1.0
    bound = None if other.bound is None else other.bound.value
    before = None if plan.bound is None else plan.bound.value
    microbatches = other.problem.workload.microbatches
    answer = WhatIf(words, Verdict.OTHER_WORK, other.value, bound, microbatches=microbatches)
    if microbatches != plan.problem.workload.microbatches:
        return answer
    gain = sign * (plan.value - other.value)
    possible = None if bound is None else max(sign * (plan.value - bound), 0.0)
    small = EQUAL * max(abs(plan.value), abs(other.value))
    sure = 0.0 if before is None else max(sign * (before - other.value), 0.0)
    if gain > small:
        verdict = Verdict.PROVEN if sure > small else Verdict.WITHIN_GAP
    else:
        nothing = possible is not None and possible <= small
        verdict = Verdict.NOTHING if nothing else Verdict.NOT_FOUND
    return attrs.evolve(answer, verdict=verdict, gain=gain, sure=sure, possible=possible)


def _better(plan: Plan, again: Plan, registry: Registry) -> Plan:
    """Return the better plan of one problem, with the better bound of both."""
    maximises = _maximises(plan, registry)
    pick = max if maximises else min
    best = pick((plan, again), key=lambda p: p.value)
    bounds = [p.bound for p in (plan, again) if p.bound is not None and p.bound.scope == "problem"]
    tight = (min if maximises else max)(bounds, key=lambda b: b.value, default=None)
    return attrs.evolve(best, bound=tight)


def _is_interrupted(plan: Plan) -> bool:
    return bool(plan.provenance.get("interrupted"))


def _maximises(plan: Plan, registry: Registry) -> bool:
    objective = registry.get("objectives", next(iter(plan.objectives))).value
    return bool(getattr(objective, "maximize", False))
