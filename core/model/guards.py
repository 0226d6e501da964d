"""Finds the rows of plugins that would bind intervals which are not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from parplan.errors import PluginError
from parplan.model.terms import RULE, Before, Interval, Term, recorded


def rule_of(block: Any) -> str | None:
    """Return the rule whose Block this is, or is inside of; None if there is none."""
    while block is not None:
        rule: str | None = block.__dict__.get(RULE)
        if rule is not None:
            return rule
        block = block.parent_block()
    return None


def component(data: Any) -> str:
    """Return what a Pyomo component is called in messages, with the rule it belongs to."""
    rule = rule_of(data.parent_block())
    return f"'{data.name}'" + ("" if rule is None else f" of rule '{rule}'")


def intervals_of(term: Term) -> tuple[Interval, ...]:
    """Return the intervals a term speaks of."""
    if isinstance(term, Before):
        return (term.first, term.second)
    return getattr(term, "intervals", ())


def check_guards(model: Any, rules: Collection[str], certain: Iterable[Interval] = ()) -> None:
    """Refuse rows of plugins that bind the time of an interval whether it is present or not.

    An absent interval still has its variables, so an unguarded row on them cuts off plans in
    which the interval is absent, and no check of a plan can see what was cut off. A row is
    guarded if it mentions the presence of an interval that has the time.

    Parameters
    ----------
    rules
        The constraint plugins that have added rows of their own.
    certain
        Intervals whose times mean something in every solution, such as those of tasks.

    Raises
    ------
    PluginError
        Naming the row, the interval and the plugin.
    """
    import pyomo.environ as pyo

    if not rules:
        return
    optional = _optional_times(model, certain)
    for row in model.component_data_objects(pyo.Constraint, active=True):
        rule = rule_of(row.parent_block())
        if rule is None or rule not in rules:
            continue
        found = {id(v): v for v in _variables(row.body)}
        for key, variable in found.items():
            users = optional.get(key, [])
            if users and not any(id(interval.presence) in found for interval in users):
                raise PluginError(
                    f"constraint '{row.name}' binds '{variable.name}', a time of "
                    f"'{users[0].name}', even where that is absent; multiply its presence "
                    f"'{users[0].presence.name}' into the row, or record a Before",
                    plugin=rule,
                    hook="constrain",
                )


def _optional_times(model: Any, certain: Iterable[Interval]) -> dict[int, list[Interval]]:
    """Return the intervals over each time variable that may be absent, by the variable's id."""
    users: dict[int, list[Interval]] = {}
    always = {id(v) for interval in certain for v in _times(interval)}
    for _, term in recorded(model):
        for interval in intervals_of(term):
            for variable in _times(interval):
                users.setdefault(id(variable), []).append(interval)
                if interval.presence is None:
                    always.add(id(variable))
    return {key: found for key, found in users.items() if key not in always}


def _times(interval: Interval) -> Iterator[Any]:
    for time in (interval.start, interval.end):
        yield from _variables(time)


def _variables(expression: Any) -> Iterator[Any]:
    """Yield the variables of an expression, a variable or a number."""
    from pyomo.core.expr.visitor import identify_variables

    return iter(identify_variables(expression, include_fixed=False))
