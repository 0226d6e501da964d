"""Finds the rows of plugins that would bind intervals which are not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parplan.errors import PluginError
from parplan.model.terms import RULE, Before, Interval, Term, recorded


def rule_of(block: Any) -> str | None:
    """Return the constraint plugin whose code fills a Block; None if it is parplan's own."""
    while block is not None:
        rule: str | None = block.__dict__.get(RULE)
        if rule is not None:
            return rule
        block = block.parent_block()
    return None


def component(data: Any) -> str:
    """Return what a Pyomo component is called in messages, with the plugin it comes from."""
    rule = rule_of(data.parent_block())
    return f"'{data.name}'" + ("" if rule is None else f" of plugin '{rule}'")


def intervals_of(term: Term) -> tuple[Interval, ...]:
    """Return the intervals a term speaks of."""
    if isinstance(term, Before):
        return (term.first, term.second)
    return getattr(term, "intervals", ())


def check_guards(model: Any) -> None:
    """Refuse rows of plugins that bind the time of an interval whether it is present or not.

    An absent interval still has its variables, so an unguarded row on them cuts off plans in
    which the interval is absent, and no check of a plan can see what was cut off. A row is
    guarded if it mentions the interval's presence. Times that some interval always has, or whose
    alternatives add up to exactly one, are times of what is always there.

    Raises
    ------
    PluginError
        Naming the row, the interval and the plugin.
    """
    import pyomo.environ as pyo

    blocks = [b for b in model.block_data_objects(active=True) if rule_of(b) is not None]
    rows = [
        row
        for block in blocks
        for row in block.component_data_objects(pyo.Constraint, active=True, descend_into=False)
    ]
    if not rows:
        return
    optional = _optional_times(model)
    for row in rows:
        found = {id(v): v for v in _variables(row)}
        for key in found:
            for interval in optional.get(key, ())[:1]:
                if not any(id(i.presence) in found for i in optional[key]):
                    raise PluginError(
                        f"constraint '{row.name}' binds '{found[key].name}', a time of "
                        f"'{interval.name}', even where that is absent; multiply the presence "
                        f"'{interval.presence.name}' into the row, or record a Before",
                        plugin=str(rule_of(row.parent_block())),
                        hook="constrain",
                    )


def _optional_times(model: Any) -> dict[int, list[Interval]]:
    """Return the intervals over each time variable that may be absent, by the variable's id."""
    users: dict[int, list[Interval]] = {}
    certain: set[int] = set()
    for _, term in recorded(model):
        for interval in intervals_of(term):
            for time in (interval.start, interval.end):
                for variable in _variables(time):
                    users.setdefault(id(variable), []).append(interval)
                    if interval.presence is None:
                        certain.add(id(variable))
    alternatives = list(_exactly_one(model))
    for key, intervals in users.items():
        literals = {id(i.presence) for i in intervals}
        if any(row <= literals for row in alternatives):
            certain.add(key)
    return {key: found for key, found in users.items() if key not in certain}


def _exactly_one(model: Any) -> Iterator[set[int]]:
    """Yield the variables of each row that says: exactly one of these binaries is 1."""
    import pyomo.environ as pyo
    from pyomo.repn import generate_standard_repn

    for row in model.component_data_objects(pyo.Constraint, active=True):
        if row.equality:
            form = generate_standard_repn(row.body, compute_values=True, quadratic=False)
            if (
                set(form.linear_coefs) == {1}
                and pyo.value(row.upper) - form.constant == 1
                and all(v.is_binary() for v in form.linear_vars)
            ):
                yield {id(v) for v in form.linear_vars}


def _variables(part: Any) -> Iterator[Any]:
    """Yield the variables of a row, an expression, a variable or a number."""
    from pyomo.core.expr.visitor import identify_variables

    expression = getattr(part, "body", part)
    return iter(identify_variables(expression, include_fixed=False))
