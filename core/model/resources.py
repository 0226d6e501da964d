"""Declared resources as terms: nothing, NoOverlap or Cumulative, whichever is the least."""

from __future__ import annotations

from parplan.declarations import Resource
from parplan.model.amounts import whole_amounts
from parplan.model.blocks import RuleBlock
from parplan.model.demands import Demands, Use
from parplan.model.terms import Interval


def add_resource(block: RuleBlock, resource: Resource, demands: Demands) -> None:
    """State ``sum of heights <= capacity`` at every instant, if it could ever be broken."""
    uses = [use for demand in resource.demands for use in demands.uses(demand) if use.height > 0]
    if _most(uses) <= resource.capacity:
        return
    fixed = [use for use in uses if use.fixed]
    passing = [use for use in uses if not use.fixed]
    heights, capacity = whole_amounts(
        [use.height for use in (*fixed, *passing)],
        resource.capacity,
        relaxed=demands.clock.relaxed,
    )
    capacity -= sum(heights[: len(fixed)])
    heights = heights[len(fixed) :]
    if capacity < 0:  # for the solver to prove, and for the explanation to find
        horizon = demands.transport.horizon
        everything = Interval(f"{resource.name}: held throughout", 0, horizon, horizon)
        block.cumulative(resource.name, [everything], [-capacity], 0)
        return
    intervals = [use.make() for use in passing]
    kept = [i for i, interval in enumerate(intervals) if interval.size != 0 and heights[i]]
    intervals, heights = [intervals[i] for i in kept], [heights[i] for i in kept]
    if _one_at_a_time(intervals, heights, capacity):
        block.no_overlap(resource.name, intervals)
    else:
        block.cumulative(resource.name, intervals, heights, capacity)


def _most(uses: list[Use]) -> float:
    """Return the most that uses can add up to: per owner, the largest of its ways."""
    ways: dict[tuple[object, ...], dict[object, float]] = {}
    for use in uses:
        found = ways.setdefault(use.owner, {})
        found[use.way] = found.get(use.way, 0.0) + use.height
    return sum(found.pop(None, 0.0) + max(found.values(), default=0.0) for found in ways.values())


def _one_at_a_time(intervals: list[Interval], heights: list[int], capacity: int) -> bool:
    """Return whether no two fit together, each fits alone, and each surely lasts."""
    if any(interval.size is None for interval in intervals):
        return False
    low = sorted(heights)[:2]
    return max(heights, default=0) <= capacity and (len(low) < 2 or sum(low) > capacity)
