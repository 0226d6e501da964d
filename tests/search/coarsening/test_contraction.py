"""Contraction: the compiled kernel takes exactly the pairs that leave no cycle, best first."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parplan.search.coarsening.contraction import matched
from parplan.search.coarsening.dag import Dag
from tests.search.coarsening.dags import dags, digraph, is_acyclic_when_merged


def matched_plainly(dag: Dag, pairs: list[tuple[int, int]], most: int) -> list[int]:
    """Return what the kernel does, by looking for a cycle after every contraction."""
    mate = list(range(len(dag)))
    done = 0
    for some, other in pairs:
        if done == most or mate[some] != some or mate[other] != other or some == other:
            continue
        mate[some], mate[other] = other, some
        labels = np.minimum(mate, np.arange(len(dag)))
        if is_acyclic_when_merged(dag, labels):
            done += 1
        else:
            mate[some], mate[other] = some, other
    return mate


@given(dags(), st.data())
def test_pairs_are_contracted_just_where_no_cycle_arises(dag: Dag, data: st.DataObject) -> None:
    node = st.integers(0, len(dag) - 1)
    pairs = data.draw(st.lists(st.tuples(node, node).filter(lambda p: p[0] != p[1]), max_size=30))
    most = data.draw(st.integers(0, len(dag)))
    some, others = (np.array([p[i] for p in pairs], dtype=np.int64) for i in (0, 1))
    found = matched(dag.first, dag.pairs.heads, some, others, most, len(dag))
    assert found.tolist() == matched_plainly(dag, pairs, most)


@given(dags())
def test_an_edge_is_contracted_just_where_it_is_the_only_path(dag: Dag) -> None:
    graph = digraph(dag)
    for tail, head in graph.edges:
        paths = sum(1 for _ in nx.all_simple_paths(graph, tail, head))
        some, others = np.array([tail]), np.array([head])
        mate = matched(dag.first, dag.pairs.heads, some, others, 1, len(dag))
        assert (mate[tail] == head) == (paths == 1)


def test_what_stands_too_far_apart_is_left_alone() -> None:
    first, heads = np.array([0, 0, 0, 0]), np.array([], dtype=np.int64)
    some, others = np.array([0]), np.array([2])
    assert matched(first, heads, some, others, 1, 1).tolist() == [0, 1, 2]
    assert matched(first, heads, some, others, 1, 2).tolist() == [2, 1, 0]
