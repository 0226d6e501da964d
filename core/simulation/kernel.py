"""Longest paths under many scenarios at once, compiled; ``replay.replay_plainly`` is the twin.

Tables of times are ``(nodes, scenarios)``: the innermost loops go over scenarios, side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.system.compiling import compiled


@compiled
def topological_order(first: Any, before: Any) -> Any:
    """Return nodes in an order in which each comes after those its arcs come from.

    What lies on a cycle, or behind one, is left out.
    """
    n = len(first) - 1
    waiting = np.empty(n, dtype=np.int64)
    out_first = np.zeros(n + 1, dtype=np.int64)
    for i in range(n):
        waiting[i] = first[i + 1] - first[i]
    for b in before:
        out_first[b + 1] += 1
    for i in range(n):
        out_first[i + 1] += out_first[i]
    place = out_first[:-1].copy()
    later = np.empty(len(before), dtype=np.int64)
    for i in range(n):
        for k in range(first[i], first[i + 1]):
            later[place[before[k]]] = i
            place[before[k]] += 1
    order = np.empty(n, dtype=np.int64)
    count = 0
    for i in range(n):
        if waiting[i] == 0:
            order[count] = i
            count += 1
    done = 0
    while done < count:
        i = order[done]
        done += 1
        for k in range(out_first[i], out_first[i + 1]):
            waiting[later[k]] -= 1
            if waiting[later[k]] == 0:
                order[count] = later[k]
                count += 1
    return order[:count]


@compiled
def longest_paths(
    sequence: Any,
    first: Any,
    before: Any,
    scaled: Any,
    fixed: Any,
    shift: Any,
    releases: Any,
    factors: Any,
) -> Any:
    """Return the start of every node in every scenario; arcs as ``orders.Arcs``."""
    nodes, scenarios = len(first) - 1, factors.shape[1]
    starts = np.empty((nodes, scenarios))
    for node in sequence:
        for s in range(scenarios):
            starts[node, s] = releases[node]
        for k in range(first[node], first[node + 1]):
            b = before[k]
            if shift[k] == 0.0:
                for s in range(scenarios):
                    time = starts[b, s] + scaled[k] * factors[b, s] + fixed[k]
                    starts[node, s] = max(starts[node, s], time)
            else:
                for s in range(scenarios):
                    time = starts[b, s] + scaled[k] * factors[b, s] + fixed[k]
                    time -= shift[k] * factors[node, s]
                    starts[node, s] = max(starts[node, s], time)
    return starts


@compiled
def critical_time(
    first: Any,
    before: Any,
    scaled: Any,
    fixed: Any,
    shift: Any,
    factors: Any,
    starts: Any,
    last: Any,
    durations: Any,
    place: Any,
    places: int,
) -> Any:
    """Return the time that one longest path spends at each place: ``(places, scenarios)``.

    Parameters
    ----------
    last
        The activity that ends last in each scenario.
    place
        Of each node; -1 for joints.
    """
    scenarios = factors.shape[1]
    spent = np.zeros((places, scenarios))
    for s in range(scenarios):
        node = last[s]
        spent[place[node], s] += durations[node] * factors[node, s]
        while True:
            best, latest = -1, -np.inf
            for k in range(first[node], first[node + 1]):
                b = before[k]
                time = starts[b, s] + scaled[k] * factors[b, s] + fixed[k]
                time -= shift[k] * factors[node, s]
                if time > latest:
                    best, latest = k, time
            if best < 0 or latest < starts[node, s]:
                break
            b = before[best]
            if place[b] >= 0:
                spent[place[b], s] += starts[node, s] - starts[b, s]
            node = b
    return spent
