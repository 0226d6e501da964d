"""Ranks of tasks: the longest way to the end or from the start, with mean or least times.

References
----------
Topcuoglu, Hariri, Wu (2002), "Performance-effective and low-complexity task scheduling for
heterogeneous computing": equations 4 and 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from parplan.scheduling.tables import Real
from parplan.search.graphs.task_graph import TaskGraph
from parplan.system.compiling import compiled


def upward_ranks(graph: TaskGraph) -> Real:
    """Return ``(n,)``, the longest way from the start of each task to the end, in mean ticks."""
    return longest_ways_out(graph, graph.mean_ticks(), graph.mean_transfer_ticks())


def downward_ranks(graph: TaskGraph) -> Real:
    """Return ``(n,)``, the longest way from the start to that of each task, in mean ticks."""
    return longest_ways_in(graph, graph.mean_ticks(), graph.mean_transfer_ticks())


def static_levels(graph: TaskGraph) -> Real:
    """Return ``(n,)``, upward ranks without transfers (Sih and Lee 1993: static levels)."""
    return longest_ways_out(graph, graph.mean_ticks(), np.zeros(len(graph.sends)))


def least_ways_out(graph: TaskGraph) -> Real:
    """Return ``(n,)``, ticks that at least pass from the start of each task to the end."""
    return longest_ways_out(graph, graph.least_ticks(), np.zeros(len(graph.sends)))


def longest_ways_out(graph: TaskGraph, ticks: Real, transfer_ticks: Real) -> Real:
    """Return ``(n,)``, the longest way from the start of each task to the end; O(n + edges).

    Parameters
    ----------
    ticks, transfer_ticks
        ``(n,)`` and ``(s,)``, of tasks and sends.
    """
    sends = graph.sends
    return np.asarray(
        _ways_out(
            graph.order,
            ticks,
            transfer_ticks,
            sends.of_task.first,
            sends.readers.first,
            sends.readers.item,
        )
    )


def longest_ways_in(graph: TaskGraph, ticks: Real, transfer_ticks: Real) -> Real:
    """Return ``(n,)``, the longest way from the start to that of each task; O(n + edges).

    Parameters
    ----------
    ticks, transfer_ticks
        ``(n,)`` and ``(s,)``, of tasks and sends.
    """
    sends = graph.sends
    return np.asarray(
        _ways_in(
            graph.order,
            ticks,
            transfer_ticks,
            sends.producer,
            sends.inputs.first,
            sends.inputs.item,
        )
    )


@compiled
def _ways_out(
    order: Any, ticks: Any, transfer: Any, sent_first: Any, reader_first: Any, reader: Any
) -> Any:
    found = np.zeros(len(ticks))
    for i in order[::-1]:
        longest = 0.0
        for s in range(sent_first[i], sent_first[i + 1]):
            for k in range(reader_first[s], reader_first[s + 1]):
                longest = max(longest, transfer[s] + found[reader[k]])
        found[i] = ticks[i] + longest
    return found


@compiled
def _ways_in(
    order: Any, ticks: Any, transfer: Any, producer: Any, input_first: Any, inputs: Any
) -> Any:
    found = np.zeros(len(ticks))
    for i in order:
        for k in range(input_first[i], input_first[i + 1]):
            s = inputs[k]
            p = producer[s]
            found[i] = max(found[i], found[p] + ticks[p] + transfer[s])
    return found
