"""How a plan was found: each better plan of its search, and each bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from parplan.figures.plan import PlanFigures, Table
from parplan.text import seconds_text, value_text

LATEST = 20
"""Better plans in the table, the last ones; the provenance holds them all."""


def found_sentence(figures: PlanFigures) -> str:
    """Return what found the plan, with what engine and after how long."""
    plan = figures.plan
    engine, seconds = plan.provenance.get("engine"), plan.provenance.get("seconds")
    told = [f"Found by {plan.solver or 'hand'}"]
    if engine:
        told.append(f"engine: {engine}")
    if isinstance(seconds, int | float):
        told.append(f"searched for {seconds_text(seconds)}")
    if plan.provenance.get("interrupted"):
        told.append("interrupted")
    return f"{'; '.join(told)}."


def history_table(figures: PlanFigures) -> Table:
    """Return a row per better plan that the search found, in time order."""
    rows = [
        (seconds_text(seconds), value_text(value, figures.unit), found_by)
        for seconds, value, found_by in figures.plan.provenance.get("history") or ()
    ]
    return Table("Better plans as they came", ("after", "value", "found by"), rows[-LATEST:], 0, 1)


def bounds_table(figures: PlanFigures) -> Table:
    """Return a row per bound that was computed, the strongest first as the search lists them."""
    return Table("Bounds", ("value", "from", "holds for"), tuple(_bounds(figures)), 0, 2)


def _bounds(figures: PlanFigures) -> Iterator[tuple[str, ...]]:
    bounds: list[Mapping[str, Any]] = figures.plan.provenance.get("bounds") or []
    for bound in bounds:
        claimed = ", claimed" if bound.get("claimed") else ""
        yield (
            value_text(bound["value"], figures.unit),
            f"{bound['source']}{claimed}",
            str(bound.get("scope", "")),
        )
