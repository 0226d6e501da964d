"""Declared resources: within their capacity at every instant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from parplan.checking.columns import Load, Real, profile
from parplan.checking.facts import run_name
from parplan.checking.usage import Usage
from parplan.contracts import Violation
from parplan.declarations import Resource
from parplan.rules import Rules

# Sums of amounts that are not whole may be this far off, relative to the capacity.
ROUNDING = 1e-9


def resources(usage: Usage, rules: Rules) -> Iterator[Violation]:
    """Yield one violation for each stretch of time in which a resource is over its capacity."""
    for rule, resource in rules.resources:
        loads, base = usage.loads(resource), usage.base(resource)
        found = profile(loads, base)
        limit = resource.capacity + _tolerance(resource, loads, base)
        levels = np.concatenate(([found.base], found.levels))
        over = levels > limit
        if not over.any():
            continue
        ticks = np.concatenate(([min(0, *found.ticks[:1].tolist(), 0)], found.ticks))
        begins = np.flatnonzero(over & ~np.concatenate(([False], over[:-1])))
        for first in begins.tolist():
            rest = np.flatnonzero(~over[first:])
            last = first + int(rest[0]) if len(rest) else len(over)
            peak = float(levels[first:last].max())
            yield _violation(usage, rule, resource, loads, int(ticks[first]), peak)


def _tolerance(resource: Resource, loads: list[Load], base: float) -> float:
    """Return 0 where all amounts are whole (sums are then exact), else a little."""
    amounts: list[Real] = [load.amount for load in loads] + [np.array([base])]
    largest = max(float(a.max(initial=0.0)) for a in amounts)
    total = sum(float(a.sum()) for a in amounts)
    if total < 2**53 and all(bool(np.all(a == np.floor(a))) for a in amounts):
        return 0.0
    return ROUNDING * max(resource.capacity, largest)


def _violation(
    usage: Usage, rule: str, resource: Resource, loads: list[Load], tick: int, peak: float
) -> Violation:
    unit = f" {resource.unit}" if resource.unit else ""
    over = peak - resource.capacity
    holders = [
        (float(load.amount[i]), _holder(usage, load, i))
        for load in loads
        for i in np.flatnonzero((load.start <= tick) & (load.end > tick) & (load.amount > 0))[:99]
    ]
    holders.sort(key=lambda holder: -holder[0])
    named = ", ".join(name for _, name in holders[:3]) or "what is resident all the time"
    more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
    text = (
        f"{resource.name} carries {peak:.9g}{unit}, {over:.9g} more than its "
        f"{resource.capacity:.9g}{unit}, from {usage.facts.seconds(tick)}: {named}{more}"
    )
    return Violation(rule, resource.name, text, over, tick)


def _holder(usage: Usage, load: Load, i: int) -> str:
    facts, row = usage.facts, int(load.row[i])
    transfers = len(facts.schedule.transfers)
    if load.kind == "task" or (load.kind == "transfer" and row >= transfers):
        return facts.task_name(row if load.kind == "task" else row - transfers)
    if load.kind == "transfer":
        return facts.transfer_name(row)
    lives = usage.lifetimes
    tensor = facts.problem.graph.tensors[int(lives.tensor[row])].name
    return f"tensor '{tensor}' ({run_name(int(lives.microbatch[row]))})"
