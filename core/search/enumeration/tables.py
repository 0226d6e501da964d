"""What an enumeration reads of a delay graph: arrays, and what holds in every schedule."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parplan.search.enumeration.delay_graph import DelayGraph, Whole, least_delays
from parplan.search.enumeration.heads import find_heads

Flags = NDArray[np.bool_]


class Tables(NamedTuple):
    """A delay graph as arrays; tasks are in topological order.

    Attributes
    ----------
    durations
        ``(n, D)``, NEVER where a device may not run a task.
    least
        The shortest duration of each task, ``(n,)``.
    delays
        Of each edge from device to device, ``(E, D, D)``.
    child_first, child, child_edge
        The children of task i and their edges stand at ``child_first[i] : child_first[i + 1]``.
    parent_first, parent, parent_delay
        Likewise its parents, and the least delay of the edge between different devices.
    heads, tails
        Least time before a task's start, and from its end to the end of the schedule, ``(n,)``.
    by_tail
        Tasks by decreasing tail, ``(n,)``.
    covers
        ``covers[i, j]``: both have the same children, and i's delays to them are no shorter
        between any two devices, ``(n, n)``.
    twin
        A task that differs from task i by name alone and comes before it; -1 if there is none.
    alike
        The first device that each device can trade places with, ``(D,)``.
    """

    durations: Whole
    least: Whole
    delays: Whole
    child_first: Whole
    child: Whole
    child_edge: Whole
    parent_first: Whole
    parent: Whole
    parent_delay: Whole
    heads: Whole
    tails: Whole
    by_tail: Whole
    covers: Flags
    twin: Whole
    alike: Whole


def make_tables(graph: DelayGraph) -> Tables:
    """Return the tables of a graph; O(n^2 (E + D^2))."""
    heads = find_heads(graph)
    tails = find_heads(graph.reversed())[::-1].copy()
    by_child = np.argsort(graph.edges[:, 0], kind="stable")
    by_parent = np.argsort(graph.edges[:, 1], kind="stable")
    count = len(graph)
    return Tables(
        durations=graph.durations,
        least=graph.durations.min(axis=1),
        delays=graph.delays,
        child_first=np.searchsorted(graph.edges[by_child, 0], np.arange(count + 1)),
        child=graph.edges[by_child, 1].copy(),
        child_edge=by_child,
        parent_first=np.searchsorted(graph.edges[by_parent, 1], np.arange(count + 1)),
        parent=graph.edges[by_parent, 0].copy(),
        parent_delay=least_delays(graph)[by_parent],
        heads=heads,
        tails=tails,
        by_tail=np.argsort(-tails, kind="stable"),
        covers=_covers(graph),
        twin=_twins(graph),
        alike=_alike(graph),
    )


def _ends(graph: DelayGraph, task: int, side: int) -> dict[int, int]:
    """Return the edge to each child (side 0) or from each parent (side 1) of a task."""
    at = np.flatnonzero(graph.edges[:, side] == task)
    return {int(graph.edges[e, 1 - side]): int(e) for e in at}


def _covers(graph: DelayGraph) -> Flags:
    """Return which tasks have the same children as which, and no shorter delays to them."""
    count = len(graph)
    children = [_ends(graph, task, 0) for task in range(count)]
    found = np.zeros((count, count), dtype=np.bool_)
    for i in range(count):
        for j in range(count):
            found[i, j] = children[i].keys() == children[j].keys() and all(
                (graph.delays[edge] >= graph.delays[children[j][child]]).all()
                for child, edge in children[i].items()
            )
    return found


def _twins(graph: DelayGraph) -> Whole:
    """Return the last task before each with equal durations, parents, children and delays."""
    found = np.full(len(graph), -1, dtype=np.int64)
    last: dict[object, int] = {}
    for task in range(len(graph)):
        key = (
            graph.durations[task].tobytes(),
            *(
                tuple((end, graph.delays[e].tobytes()) for end, e in sorted(ends.items()))
                for ends in (_ends(graph, task, 0), _ends(graph, task, 1))
            ),
        )
        found[task] = last.get(key, -1)
        last[key] = task
    return found


def _alike(graph: DelayGraph) -> Whole:
    """Return the first device that can trade places with each: nothing else would change.

    Trades are transpositions that leave durations and delays as they are; if a and b can trade,
    and b and c, then so can a and c.
    """
    count = graph.durations.shape[1]
    found = np.arange(count, dtype=np.int64)
    for a, b in combinations(range(count), 2):
        if found[b] != b:
            continue
        traded = np.arange(count)
        traded[[a, b]] = b, a
        if (graph.durations[:, a] == graph.durations[:, b]).all() and (
            graph.delays[:, traded][:, :, traded] == graph.delays
        ).all():
            found[b] = found[a]
    return found
