"""Parts that can be merged: split as far as cycles ask for, and no further."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.graph import Graph, Operator, Tensor
from parplan.search.placing.convexity import convex_parts
from tests.differential.generators import examples


def graph_of(count: int, edges: Sequence[tuple[int, int]]) -> Graph:
    operators = tuple(Operator(f"o{i}") for i in range(count))
    tensors = tuple(Tensor(f"{a}-{b}", f"o{a}", (f"o{b}",)) for a, b in edges)
    return Graph("drawn", operators, tensors)


def merged(graph: Graph, parts: Sequence[Sequence[int]]) -> nx.DiGraph[int]:
    part_of = {o: p for p, part in enumerate(parts) for o in part}
    found: nx.DiGraph[int] = nx.DiGraph()
    found.add_nodes_from(range(len(parts)))
    found.add_edges_from(
        (part_of[a], part_of[b]) for a, b in graph.digraph.edges if part_of[a] != part_of[b]
    )
    return found


@st.composite
def parted_graphs(draw: st.DrawFn) -> tuple[Graph, list[list[int]]]:
    count = draw(st.integers(1, 9))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=16)) if pairs else []
    labels = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    parts = [[o for o in range(count) if labels[o] == p] for p in range(4)]
    return graph_of(count, edges), [part for part in parts if part]


@settings(max_examples=examples(200), deadline=None)
@given(parted_graphs())
def test_no_part_waits_for_what_waits_for_it_and_only_those_are_split(
    drawn: tuple[Graph, list[list[int]]],
) -> None:
    graph, parts = drawn
    found = convex_parts(graph, parts)
    assert sorted(o for part in found for o in part) == list(range(len(graph.operators)))
    assert nx.is_directed_acyclic_graph(merged(graph, found))
    knots = nx.strongly_connected_components(merged(graph, parts))
    tied = {p for component in knots if len(component) > 1 for p in component}
    for p, part in enumerate(parts):
        pieces = [piece for piece in found if set(piece) <= set(part)]
        assert sorted(o for piece in pieces for o in piece) == part
        assert (p in tied) or len(pieces) == 1


def test_what_a_branch_comes_back_to_is_a_part_of_its_own() -> None:
    """Dispatch, one expert and combine on a device; the other expert stands elsewhere."""
    graph = graph_of(5, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)])
    assert sorted(convex_parts(graph, [[0, 1, 3, 4], [2]])) == [[0, 1], [2], [3, 4]]


def test_ends_that_share_a_table_are_told_apart() -> None:
    """An embedding and a head on one device, with all that lies between them on another."""
    graph = graph_of(4, [(0, 1), (1, 2), (2, 3)])
    assert sorted(convex_parts(graph, [[0, 3], [1, 2]])) == [[0], [1, 2], [3]]
