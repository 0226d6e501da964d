"""What a task graph need not say: precedences that other sends imply, whatever the placement."""

from __future__ import annotations

import attrs
import numpy as np

from parplan.scheduling.tables import Flags
from parplan.search.coarsening.dag import firsts
from parplan.search.coarsening.reduction import implied_edges
from parplan.search.graphs.task_graph import Lists, Routes, TaskGraph, inverted


def without_implied_sends(graph: TaskGraph) -> TaskGraph:
    """Return a task graph in which no task reads what has no bytes and makes it wait for nothing.

    A send without bytes from a task to a reader is implied if another path leads from one to the
    other: wherever the tasks of that path are, it passes from the first device to the last one by
    transfers that take at least the latencies between them, and these are at least the latency of
    the direct way (`has_shortest_latencies`). The same holds beside another send of the same two
    tasks. A send with bytes is never left out: it holds links and memory, and may arrive later than
    what comes by a path. Time and memory as of ``implied_edges``.
    """
    if not has_shortest_latencies(graph.routes):
        return graph
    sends = graph.sends
    place = np.argsort(graph.order)
    send = np.repeat(np.arange(len(sends)), np.diff(sends.readers.first))
    keys = place[sends.producer[send]] * len(graph) + place[sends.readers.item]
    # Of the sends between two tasks the one with the most bytes comes first.
    order = np.lexsort((-sends.bytes[send], keys))
    new = firsts(keys[order])
    pairs = keys[order][new]
    first = np.searchsorted(pairs, np.arange(len(graph) + 1) * len(graph))
    empty = sends.bytes[send[order]] == 0
    implied: Flags = ~new
    implied[new] = implied_edges(first, pairs % max(len(graph), 1), empty[new])
    kept = np.ones(len(send), dtype=np.bool_)
    kept[order] = ~(implied & empty)
    return graph if kept.all() else _with_readers(graph, kept)


def has_shortest_latencies(routes: Routes) -> bool:
    """Return whether all devices are joined, and no detour over a third has less latency."""
    latency = routes.latency
    joined = bool(np.isfinite(routes.ticks_per_byte).all())
    return joined and all(
        bool((latency <= latency[:, [d]] + latency[[d], :]).all()) for d in range(len(latency))
    )


def _with_readers(graph: TaskGraph, kept: Flags) -> TaskGraph:
    """Return a task graph with some of the readers of its sends."""
    sends = graph.sends
    send = np.repeat(np.arange(len(sends)), np.diff(sends.readers.first))[kept]
    first = np.searchsorted(send, np.arange(len(sends) + 1))
    readers = Lists(first.astype(np.int64), sends.readers.item[kept])
    changed = attrs.evolve(sends, readers=readers, inputs=inverted(readers, len(graph)))
    return attrs.evolve(graph, sends=changed)
