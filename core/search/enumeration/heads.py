"""Least times before the starts of tasks: a start waits for parents beside it or for delays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from parplan.search.enumeration.delay_graph import DelayGraph, Whole, least_delays


def find_heads(graph: DelayGraph) -> Whole:
    """Return the least time before each task's start in any schedule, ``(n,)``.

    A parent is beside its child, on the same device, or the child waits for the edge's delay. Call
    a parent's least end plus least delay its arrival. In any schedule let k be the parent of
    largest arrival among those that are not beside the child: the child starts no earlier than
    that, and all parents of larger arrival are beside it, one after the other, so that it starts
    no earlier than these can have run on one device. The least of the larger of the two over all
    k, or with all parents beside it, holds whatever the schedule. Such sets go back to Fernandez
    and Bussell (IEEE Trans. Computers 1973) and, with delays, to Jung, Kirousis and Spirakis
    (SPAA 1989); here they hold direct parents only.
    """
    least = graph.durations.min(axis=1)
    delays = least_delays(graph)
    heads = np.zeros(len(graph), dtype=np.int64)
    for task in range(len(graph)):
        into = np.flatnonzero(graph.edges[:, 1] == task)
        parents = graph.edges[into, 0]
        heads[task] = earliest_start(
            (int(heads[p]), int(least[p]), int(d))
            for p, d in zip(parents, delays[into], strict=True)
        )
    return heads


def earliest_start(parents: Iterable[tuple[int, int, int]]) -> int:
    """Return the earliest start after parents of known (head, duration, delay)."""
    ordered = sorted(parents, key=lambda p: -sum(p))
    best = None
    first, work, beside = None, 0, 0
    for head, duration, delay in [*ordered, (0, 0, 0)]:
        start = max(beside, head + duration + delay)
        best = start if best is None else min(best, start)
        first = head if first is None else min(first, head)
        work += duration
        beside = max(beside, first + work, head + duration)
    return best or 0
