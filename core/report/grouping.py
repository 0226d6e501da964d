"""A model's operators in few groups, to be drawn: by module path, and if need be by their order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import takewhile

import networkx as nx
from attrs import frozen

from parplan.graph import Graph, Kind

LATER = frozenset({Kind.BACKWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT, Kind.OPTIMIZER})
"""Kinds that mirror what is drawn already."""


@frozen
class Group:
    """Operators that are drawn as one box."""

    name: str
    operators: tuple[int, ...]


def model_groups(graph: Graph, most: int) -> tuple[tuple[Group, ...], tuple[tuple[int, int], ...]]:
    """Return at most ``most`` groups of a graph's forward operators, and the edges between them.

    Paths of modules are cut as deep as the number of groups allows. Where even the first part of
    all paths makes too many, groups that follow one another are taken together. The groups make no
    cycle, and stand in an order in which edges go forwards.
    """
    shown = [i for i, o in enumerate(graph.operators) if o.kind not in LATER]
    shown = shown or list(range(len(graph.operators)))
    paths = {i: (graph.operators[i].module or graph.operators[i].name).split(".") for i in shown}
    edges = [(a, b) for a, b in graph.digraph.edges if a in paths and b in paths]
    for depth in range(max(len(path) for path in paths.values()), 0, -1):
        keys = {i: tuple(path[:depth]) for i, path in paths.items()}
        if len(set(keys.values())) <= most:
            return _ordered(edges, keys, paths)
    order = [i for i in graph.topological_order if i in paths]
    return _ordered(edges, {i: k * most // len(order) for k, i in enumerate(order)}, paths)


def _ordered(
    edges: Sequence[tuple[int, int]],
    keys: Mapping[int, Hashable],
    paths: Mapping[int, list[str]],
) -> tuple[tuple[Group, ...], tuple[tuple[int, int], ...]]:
    """Return groups by key, those on a common cycle as one, in topological order, and edges."""
    coarse: nx.DiGraph[Hashable] = nx.DiGraph()
    coarse.add_nodes_from(keys.values())
    coarse.add_edges_from((keys[a], keys[b]) for a, b in edges if keys[a] != keys[b])
    whole = nx.condensation(coarse)
    order = list(nx.topological_sort(whole))
    members: dict[int, list[int]] = {number: [] for number in order}
    of = whole.graph["mapping"]
    for operator, key in keys.items():
        members[of[key]].append(operator)
    place = {number: i for i, number in enumerate(order)}
    groups = tuple(
        Group(_name([paths[i] for i in members[number]]), tuple(members[number]))
        for number in order
    )
    return groups, tuple(sorted((place[a], place[b]) for a, b in whole.edges))


def _name(paths: Sequence[Sequence[str]]) -> str:
    """Return the part that all paths share, or the first and the last of them."""
    shared = [
        parts[0] for parts in takewhile(lambda p: len(set(p)) == 1, zip(*paths, strict=False))
    ]
    if shared:
        return ".".join(shared)
    return f"{'.'.join(paths[0])} … {'.'.join(paths[-1])}"
