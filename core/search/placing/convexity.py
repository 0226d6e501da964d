"""Parts that can be merged together: split until none waits for what waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx

from parplan.graph import Graph

if TYPE_CHECKING:
    Digraph: TypeAlias = nx.DiGraph[int]
else:
    Digraph = nx.DiGraph

Parts = list[list[int]]


def convex_parts(graph: Graph, parts: Iterable[Sequence[int]]) -> Parts:
    """Return the parts, split where they would lie on a cycle once each is one operator.

    Where a path leaves a part and comes back, what it comes back to is a part of its own. Where no
    path does, what no tensors inside a part connect is told apart, and in the end every member is.
    O(operators + tensors) for parts without cycles.
    """
    current = [list(part) for part in parts]
    while True:
        part_of = {o: p for p, part in enumerate(current) for o in part}
        knots = [
            component
            for component in nx.strongly_connected_components(_merged(graph, part_of))
            if len(component) > 1
        ]
        if not knots:
            return current
        split: dict[int, Parts] = {}
        for knot in knots:
            split |= _untied(graph, {p: current[p] for p in knot})
        current = [piece for p, part in enumerate(current) for piece in split.get(p, [part])]


def _merged(graph: Graph, part_of: Mapping[int, int]) -> Digraph:
    """Return the graph of parts."""
    found: Digraph = nx.DiGraph()
    found.add_nodes_from(part_of.values())
    for producer, consumers in zip(graph.producers, graph.consumers, strict=True):
        source = part_of[producer]
        found.add_edges_from((source, part_of[c]) for c in consumers if part_of[c] != source)
    return found


def _untied(graph: Graph, knot: Mapping[int, Sequence[int]]) -> dict[int, Parts]:
    """Return the pieces of those parts of a knot that are to be split: of one of them at least."""
    inside = {o for part in knot.values() for o in part}
    for tell_apart in (_returns, _pieces, _each):
        found = {p: _by_number(tell_apart(graph, part, inside)) for p, part in knot.items()}
        split = {p: pieces for p, pieces in found.items() if len(pieces) > 1}
        if split:
            return split
    raise AssertionError("a graph without cycles has none among its operators")


def _by_number(numbers: Mapping[int, int]) -> Parts:
    found: dict[int, list[int]] = {}
    for operator, number in numbers.items():
        found.setdefault(number, []).append(operator)
    return list(found.values())


def _returns(graph: Graph, part: Sequence[int], inside: set[int]) -> dict[int, int]:
    """Return how often, at most, a path from a part has left it and come back at each member.

    Parameters
    ----------
    inside
        Operators that such paths go through.
    """
    members = set(part)
    within = graph.digraph.subgraph(inside)
    count: dict[int, int] = {}
    for operator in nx.topological_sort(within):
        before = [
            count[b] + (operator in members and b not in members)
            for b in within.predecessors(operator)
            if b in count
        ]
        if before or operator in members:
            count[operator] = max(before, default=0)
    return {operator: count[operator] for operator in part}


def _pieces(graph: Graph, part: Sequence[int], _: set[int]) -> dict[int, int]:
    """Return a number for each member, equal where tensors among them connect."""
    links = graph.digraph.subgraph(part).to_undirected(as_view=True)
    numbers = {o: n for n, group in enumerate(nx.connected_components(links)) for o in group}
    return {operator: numbers[operator] for operator in part}


def _each(_: Graph, part: Sequence[int], __: set[int]) -> dict[int, int]:
    """Return a number of its own for each member."""
    return {operator: operator for operator in part}
