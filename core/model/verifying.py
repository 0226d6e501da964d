"""Whether an answer's values are a solution of a model: rows, terms and bounds, judged anew.

This is what can be said of an answer before it is a schedule: a backend that gives values which
break a row, or claims another objective than its values have, is caught here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from attrs import frozen

from parplan.model.guards import component
from parplan.model.terms import (
    AtMostOne,
    Before,
    Cumulative,
    Interval,
    NoOverlap,
    Term,
    recorded,
)

TOLERANCE = 1e-5
"""How far a row may be broken, as a part of its bound (or of one): what solvers leave."""


@frozen
class Verdict:
    """What values are: the objective that they have, or what they break."""

    objective: float | None = None
    broken: str = ""


def verify(model: Any, values: Mapping[str, float]) -> Verdict:
    """Return what values are for a model; variables that have none must be in no row.

    Leaves the values, integers rounded, on the model's variables.
    """
    import pyomo.environ as pyo

    for variable in model.component_data_objects(pyo.Var, active=True):
        given = values.get(variable.name)
        if given is None:
            return Verdict(broken=f"{component(variable)} has no value")
        number = float(round(given)) if variable.is_integer() else given
        lower, upper = variable.bounds
        if not (_least(lower) <= number <= _most(upper)) or abs(number - given) > 1e-3:
            return Verdict(broken=f"{component(variable)} is {given:g}, outside its domain")
        variable.set_value(number, skip_validation=True)
    for row in model.component_data_objects(pyo.Constraint, active=True):
        body = pyo.value(row.body)
        lower, upper = pyo.value(row.lower), pyo.value(row.upper)
        if not (_least(lower) <= body <= _most(upper)):
            return Verdict(broken=f"it breaks {component(row)}")
    for block, term in recorded(model):
        if any(_breaches(term)):
            name = getattr(term, "name", type(term).__name__)
            return Verdict(broken=f"it breaks '{name}' of {component(block)}")
    objective = next(model.component_data_objects(pyo.Objective, active=True), None)
    return Verdict(None if objective is None else pyo.value(objective.expr))


def _least(bound: float | None) -> float:
    return float("-inf") if bound is None else bound - TOLERANCE * max(abs(bound), 1.0)


def _most(bound: float | None) -> float:
    return float("inf") if bound is None else bound + TOLERANCE * max(abs(bound), 1.0)


def _breaches(term: Term) -> Iterator[bool]:
    if isinstance(term, AtMostOne):
        yield sum(map(_number, term.literals)) > 1
    elif isinstance(term, Before):
        if _present(term.first) and _present(term.second):
            yield _number(term.first.end) + term.delay > _number(term.second.start)
    elif isinstance(term, NoOverlap):
        spans = sorted(_span(i) for i in term.intervals if _present(i))
        spans = [span for span in spans if span[1] > span[0]]
        yield from (one[1] > two[0] for one, two in pairwise(spans))
    else:
        yield from _overfull(term)
    if not isinstance(term, AtMostOne | Before):
        yield from (_misfit(i) for i in term.intervals if _present(i))


def _overfull(term: Cumulative) -> Iterator[bool]:
    changes: dict[int, int] = {}
    for interval, height in zip(term.intervals, term.heights, strict=True):
        if _present(interval):
            start, end = _span(interval)
            if end > start:
                changes[start] = changes.get(start, 0) + height
                changes[end] = changes.get(end, 0) - height
    level = 0
    for instant in sorted(changes):
        level += changes[instant]
        yield level > term.capacity


def _misfit(interval: Interval) -> bool:
    """Return whether a present interval has another length than it says."""
    start, end = _span(interval)
    return end < start if interval.size is None else end - start != interval.size


def _span(interval: Interval) -> tuple[int, int]:
    return _number(interval.start), _number(interval.end)


def _present(interval: Interval) -> bool:
    return interval.presence is None or _number(interval.presence) == 1


def _number(expression: Any) -> int:
    import pyomo.environ as pyo

    number: float = pyo.value(expression)
    return round(number)
