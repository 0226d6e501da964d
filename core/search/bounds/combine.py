"""All combinatorial bounds of a problem, best first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from parplan.declarations import Together
from parplan.plans import Bound
from parplan.problem import Problem
from parplan.rules import Rules
from parplan.search.bounds.block_warm_up import block_warm_up_bound
from parplan.search.bounds.destructive import refuted_makespans
from parplan.search.bounds.forced import Load, moving
from parplan.search.bounds.instance import Assignment, compile_instance
from parplan.search.bounds.loads import find_prices, idle_bound, load_bound
from parplan.search.bounds.packing import find_blocks, packing_bound
from parplan.search.bounds.paths import Windows, critical_path, find_windows, operator_series
from parplan.search.bounds.propagation import visits
from parplan.search.bounds.slots import staggered_bound
from parplan.search.bounds.streams import find_streams
from parplan.search.bounds.sure import Sure
from parplan.search.bounds.usage import find_usage
from parplan.search.bounds.warm_up import warm_up_bound

MOST_STATES = 100_000
"""Of a machine that is kept exactly; one with more is left out."""

MOST_VISITS = 30_000_000
"""Of ways out of states, until the search for what exact machines refute ends: half a second."""


def combinatorial_bounds(
    problem: Problem, rules: Rules, enough_s: float = math.inf
) -> tuple[Bound, ...]:
    """Return lower bounds of the makespan in seconds, best first, scope ``"problem"``.

    Fast (seconds at 20,000 operators), deterministic, and proven: see docs/explanation/bounds.md.

    Parameters
    ----------
    enough_s
        A bound this large ends the computation: what costs more comes later.

    Raises
    ------
    InfeasibleError
        If an operator can run nowhere.
    """
    return _bounds(problem, rules, None, "problem", enough_s)


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
    problem: Problem,
    rules: Rules,
    assignment: Assignment | None,
    scope: str,
    enough_s: float = math.inf,
) -> tuple[Bound, ...]:
    windows = find_windows(compile_instance(problem, rules, assignment))
    found: list[tuple[str, float]] = []
    for source, ticks in _all(windows):
        found.append((source, ticks))
        if _whole(ticks) * problem.tick_s >= enough_s:
            break
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple(
        Bound(_whole(ticks) * problem.tick_s, scope, source) for source, ticks in found if ticks > 0
    )


def _whole(ticks: float) -> int:
    """Return a bound in whole ticks: a makespan is one, so it may be rounded up."""
    return math.ceil(ticks - 1e-6)


def _all(windows: Windows) -> Iterator[tuple[str, float]]:
    """Yield (name, ticks) of each bound."""
    path = critical_path(windows)
    yield "critical path", path
    yield "operator series", operator_series(windows)
    known, sure = path, Sure(windows)
    for source, ticks in _sure(sure):
        known = max(known, ticks)
        yield source, ticks
    yield "exact machines", _exact(sure, known)
    capacities = windows.instance.capacities
    single = find_usage(windows, merge=False)
    merged = find_usage(windows, merge=True) if _merges(windows) else single
    prices = find_prices(merged, capacities, path)
    if prices is not None:
        yield "load", load_bound(single, prices)
        yield "load of whole groups", load_bound(merged, prices)
        idle = idle_bound(merged, prices, capacities, path)
        yield "load and idle ends", idle
        blocks, floor = find_blocks(windows, merged), _whole(max(path, idle))
        if blocks is not None:
            yield "packed blocks", float(packing_bound(blocks, floor))
        yield "warm-up of blocks", float(block_warm_up_bound(windows, merged, floor))


def _sure(sure: Sure) -> Iterator[tuple[str, float]]:
    """Yield the bounds of single resources: tasks, transfers and holds that are sure."""
    loads = {r: tuple(found) for r, found in sure.tasks.items()}
    for r, found in moving(sure.windows, sure.crossings).items():
        loads[r] = (*loads.get(r, ()), *found)
    capacities = [resource.capacity for _, resource in sure.instance.resources]
    by_resource = [Load(capacities[r], found).bound() for r, found in loads.items()]
    yield "one machine", max(by_resource, default=0.0)
    if not sure.places.any_sure:
        return
    slots, staggered, warm = 0.0, 0.0, 0.0
    for r, holds in sure.holds.items():
        load = Load(sure.rooms[r], [h.activity for h in holds] + sure.tasks.get(r, []))
        slots = max(slots, load.bound())
        for machine in sure.machines.values():
            warm = max(warm, warm_up_bound(sure.windows, sure.reach, holds, machine, load.room))
            staggered = max(staggered, staggered_bound(holds, machine, sure.reach, load.room))
    yield "slots of memory", slots
    yield "staggered slots", staggered
    yield "warm-up memory", warm


def _exact(sure: Sure, known: float) -> float:
    """Return the bound of machines kept exactly, from one that is known."""
    streams = find_streams(sure)
    if streams is None:
        return 0.0
    floor = _whole(known)
    found = refuted_makespans(streams, floor, None, MOST_STATES, visits(MOST_VISITS))
    return float(max(found, default=floor))


def _merges(windows: Windows) -> bool:
    """Return whether items of whole groups differ from single columns of operators."""
    instance = windows.instance
    return len(instance.columns) > 1 or bool(instance.rules.of(Together))
