"""Replays: the orders of a plan under other times."""

from __future__ import annotations

import numpy as np

from parplan.scheduling.tables import Real, Whole
from parplan.simulation.orders import Orders


def replay(orders: Orders, factors: Real) -> Real:
    """Return the start of each activity in ticks, in each scenario.

    Parameters
    ----------
    factors
        ``(activities, scenarios)``: what each activity's planned time is multiplied with.
    """
    return node_starts(orders, factors)[: len(orders.network)]


def node_starts(orders: Orders, factors: Real) -> Real:
    """Return the start of each node, joints included."""
    from parplan.simulation.kernel import longest_paths

    arcs = orders.arcs
    starts: Real = longest_paths(
        orders.sequence,
        *(arcs.first, arcs.before, arcs.scaled, arcs.fixed, arcs.shift),
        releases_of(orders),
        with_joints(orders, factors),
    )
    return starts


def replay_plainly(orders: Orders, factors: Real) -> Real:
    """Return what ``replay`` does, in plain Python."""
    arcs, count = orders.arcs, len(orders.network)
    columns = zip(
        *(c.tolist() for c in (arcs.before, arcs.scaled, arcs.fixed, arcs.shift)), strict=True
    )
    rows, first, releases = list(columns), arcs.first.tolist(), releases_of(orders).tolist()
    whole = with_joints(orders, factors)
    found = np.empty((count, factors.shape[1]))
    for scenario in range(factors.shape[1]):
        factor, starts = whole[:, scenario].tolist(), list(releases)
        for node in orders.sequence.tolist():
            for before, scaled, fixed, shift in rows[first[node] : first[node + 1]]:
                time = starts[before] + scaled * factor[before] + fixed - shift * factor[node]
                starts[node] = max(starts[node], time)
        found[:, scenario] = starts[:count]
    return found


def makespans(orders: Orders, starts: Real, factors: Real) -> Real:
    """Return the end of the last task in ticks, in each scenario."""
    last: Real = task_ends(orders, starts, factors).max(axis=0)
    return last


def task_ends(orders: Orders, starts: Real, factors: Real) -> Real:
    """Return the end of each task in ticks, in each scenario."""
    count = len(orders.network.tasks)
    durations = np.array(orders.network.durations[:count], dtype=float)
    ends: Real = starts[:count] + durations[:, None] * factors[:count]
    return ends


def with_joints(orders: Orders, factors: Real) -> Real:
    """Return factors with rows for joints, which take no time."""
    joints = orders.nodes - len(orders.network)
    return np.concatenate((factors, np.ones((joints, factors.shape[1]))))


def releases_of(orders: Orders) -> Whole:
    """Return the tick before which each node may not start."""
    joints = orders.nodes - len(orders.network)
    return np.array([*orders.network.releases, *(0,) * joints], dtype=np.int64)
