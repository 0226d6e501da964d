"""What forward passes keep for backward passes: what strategies that save memory have a say in."""

from __future__ import annotations

from parplan.graph import Graph, Kind

BACKWARD = frozenset({Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT})
"""Kinds of operators that belong to a backward pass."""


def saved_tensors(graph: Graph, operator: int) -> tuple[int, ...]:
    """Return the tensors that an operator makes for backward operators alone."""
    return tuple(
        t
        for t in graph.outputs[operator]
        if graph.consumers[t]
        and not graph.tensors[t].output
        and graph.tensors[t].bytes > 0
        and all(graph.operators[c].kind in BACKWARD for c in graph.consumers[t])
    )
