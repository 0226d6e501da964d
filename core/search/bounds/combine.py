"""All combinatorial bounds of a problem, best first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from parplan.declarations import Together
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds.forced import machine_bounds, running_activities
from parplan.search.bounds.instance import Assignment, compile_instance
from parplan.search.bounds.loads import find_prices, idle_bound, load_bound
from parplan.search.bounds.paths import Windows, critical_path, find_windows, operator_series
from parplan.search.bounds.usage import find_usage

ROUNDING = 1e-9
"""Part of a bound that is given up for floating-point sums, before it is rounded up to ticks."""


def combinatorial_bounds(problem: Problem, rules: Rules) -> tuple[Bound, ...]:
    """Return lower bounds of the makespan in seconds, best first, scope ``"problem"``.

    Fast (seconds at 20,000 operators), deterministic, and proven: see docs/explanation/bounds.md.

    Raises
    ------
    InfeasibleError
        If an operator can run nowhere.
    """
    return _bounds(problem, rules, None, "problem")


def bounds_for_assignment(
    problem: Problem, rules: Rules, assignment: Assignment
) -> tuple[Bound, ...]:
    """Return lower bounds of the makespan under an assignment, scope ``"assignment"``.

    Parameters
    ----------
    assignment
        Alternative index (into ``problem.alternatives``) by (operator index, placement group); it
        may leave operators out.
    """
    return _bounds(problem, rules, assignment, "assignment")


def _bounds(
    problem: Problem, rules: Rules, assignment: Assignment | None, scope: str
) -> tuple[Bound, ...]:
    windows = find_windows(compile_instance(problem, rules, assignment))
    found = sorted(_all(windows), key=lambda pair: (-pair[1], pair[0]))
    return tuple(
        Bound(_whole(ticks) * problem.tick_s, scope, source) for source, ticks in found if ticks > 0
    )


def _whole(ticks: float) -> int:
    """Return a bound in whole ticks: a makespan is one, so it may be rounded up."""
    return math.ceil(ticks * (1 - ROUNDING) - 1e-6)


def _all(windows: Windows) -> Iterator[tuple[str, float]]:
    """Yield (name, ticks) of each bound."""
    path = critical_path(windows)
    yield "critical path", path
    yield "operator series", operator_series(windows)
    machines = machine_bounds(running_activities(windows))
    if machines:
        yield "one machine", max(machines.values())
    capacities = windows.instance.capacities
    single = find_usage(windows, merge=False)
    merged = find_usage(windows, merge=True) if _merges(windows) else single
    prices = find_prices(merged, capacities, path)
    if prices is not None:
        yield "load", load_bound(single, prices)
        yield "load of whole groups", load_bound(merged, prices)
        yield "load and idle ends", idle_bound(merged, prices, capacities, path)


def _merges(windows: Windows) -> bool:
    """Return whether items of whole groups differ from single columns of operators."""
    instance = windows.instance
    return len(instance.columns) > 1 or bool(instance.rules.of(Together))
