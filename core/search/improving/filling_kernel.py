"""Fillers put between what keeps its order, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.system.compiling import compiled, kernel_part

UNKNOWN = np.int64(-1)


@compiled
def fill(
    v: Any, kept: Any, kept_first: Any, fillers: Any, filler_first: Any, budget: Any, order: Any
) -> Any:
    """Write an order of all nodes; return whether there is one.

    Machines decide forward in time. A machine runs the next node of its kept order as soon as it
    is ready; it runs a filler instead where memory lacks for that node, where the wait for it is
    as long as the filler, or where waiting would leave the machine idle for longer than ``budget``
    in all since it began.

    Parameters
    ----------
    v
        A view whose nodes visit one machine each, which keeps whatever they take and give.
    kept, kept_first, fillers, filler_first
        Nodes of each machine in the order in which they run, and where its row begins.
    budget
        In ticks.
    order
        What is written; whole only if there is an order.
    """
    machines = len(v.first) - 1
    starts = np.full(len(v.durations), -1, dtype=np.int64)
    held = v.levels.copy()
    at_kept, at_filler, at = kept_first[:-1].copy(), filler_first[:-1].copy(), v.first[:-1].copy()
    free, idle = np.zeros(machines, dtype=np.int64), np.zeros(machines, dtype=np.int64)
    for _ in range(len(v.durations)):
        chosen, q, soonest = UNKNOWN, UNKNOWN, UNKNOWN
        for one in range(machines):
            node, start = _next(
                v, kept, kept_first, fillers, filler_first, budget, starts, held,
                at_kept[one], at_filler[one], free[one], idle[one], one,
            )  # fmt: skip
            if node >= 0 and (q < 0 or start < soonest):
                chosen, q, soonest = node, np.int64(one), start
        if q < 0:
            return False
        if at_filler[q] < filler_first[q + 1] and fillers[at_filler[q]] == chosen:
            at_filler[q] += 1
        else:
            at_kept[q] += 1
        if at[q] > v.first[q]:
            idle[q] += soonest - free[q]
        order[at[q]] = chosen
        at[q] += 1
        starts[chosen] = soonest
        free[q] = soonest + v.durations[chosen]
        for k in range(v.move_first[chosen], v.move_first[chosen + 1]):
            held[v.move_resource[k]] += v.move_take[k] - v.move_give[k]
    return True


@kernel_part
def _next(
    v: Any, kept: Any, kept_first: Any, fillers: Any, filler_first: Any, budget: Any, starts: Any,
    held: Any, at_kept: Any, at_filler: Any, now: Any, idle: Any, q: Any,
) -> Any:  # fmt: skip
    """Return what a machine runs next and when; -1 if it waits for what is not known yet."""
    filler, filled = UNKNOWN, UNKNOWN
    if at_filler < filler_first[q + 1]:
        filled = _ready(v, starts, fillers[at_filler])
        if filled >= 0 and _fits(v, held, fillers[at_filler]):
            filler, filled = fillers[at_filler], max(filled, now)
    if at_kept == kept_first[q + 1]:
        return filler, filled
    node = kept[at_kept]
    ready = _ready(v, starts, node)
    if not _fits(v, held, node) or ready < 0:
        return filler, filled
    gap = ready - now
    if filler >= 0 and filled < ready and (gap >= v.durations[filler] or idle + gap > budget):
        return filler, filled
    return node, max(ready, now)


@kernel_part
def _ready(v: Any, starts: Any, i: Any) -> Any:
    """Return when the arcs into a node let it start; -1 while that is unknown."""
    ready = v.releases[i]
    for k in range(v.arc_first[i], v.arc_first[i + 1]):
        before = starts[v.arc_from[k]]
        if before < 0:
            return UNKNOWN
        ready = max(ready, before + v.arc_delay[k])
    return ready


@kernel_part
def _fits(v: Any, held: Any, i: Any) -> Any:
    """Return whether there is room for what a node takes."""
    for k in range(v.move_first[i], v.move_first[i + 1]):
        r = v.move_resource[k]
        if held[r] + v.move_take[k] > v.limits[r]:
            return False
    return True
