"""What is sure to use a resource, and the one-machine bound of each resource."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from parplan.search.bounds.instance import Array
from parplan.search.bounds.one_machine import preemptive_bound
from parplan.search.bounds.paths import Windows


@frozen(eq=False)
class Activities:
    """Activities of one resource: windows in ticks, and ticks x part of its capacity."""

    heads: Array
    work: Array
    tails: Array


def running_activities(windows: Windows) -> dict[int, Activities]:
    """Return, per resource, the tasks that use it whatever is chosen.

    A task's use is the least over its choices. The part of the capacity counts as work: at no
    instant can the parts of running tasks sum to more than one.
    """
    instance = windows.instance
    found: dict[int, list[tuple[Array, Array, Array]]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.nan_to_num(t / instance.capacities, posinf=1.0) for t in instance.amounts]
    for o in range(len(instance.choices)):
        part, heads = parts[instance.use[o]], windows.heads[o]
        usable: NDArray[np.bool_] = np.less(heads, np.inf)
        if not part[usable.any(axis=0)].min(axis=0, initial=np.inf).any():
            continue
        ticks = np.where(usable, instance.ticks[o], np.inf)
        counts = np.array([c.count for c in instance.columns_of(o)], dtype=float)
        with np.errstate(invalid="ignore"):
            least = np.fmin.reduce(ticks[:, :, None] * part[None], axis=1)
        for r in np.flatnonzero(least.any(axis=0)):
            work = counts * least[:, r]
            found.setdefault(int(r), []).append((windows.head[o], work, windows.tail[o]))
    return {
        r: Activities(*(np.concatenate([row[i] for row in rows]) for i in range(3)))
        for r, rows in found.items()
    }


def machine_bounds(activities: dict[int, Activities]) -> dict[int, float]:
    """Return the one-machine bound of each resource."""
    return {r: preemptive_bound(a.heads, a.work, a.tails) for r, a in activities.items()}
