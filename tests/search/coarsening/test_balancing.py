"""Balanced coarsening: as many parts as wanted, no cycle, near and light ones together."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.merging import invert_all
from parplan.search.coarsening.paths import heaviest_path, paths_through
from tests.search.coarsening.dags import dags, digraph, is_acyclic_when_merged, make_dag


@settings(max_examples=50)
@given(dags(), st.integers(1, 12))
def test_a_graph_gets_as_many_parts_as_wanted(dag: Dag, size: int) -> None:
    found = BalancedMerge(size).apply(dag)
    assert len(found.coarse) == min(size, len(dag))
    assert is_acyclic_when_merged(dag, found.part_of)


@settings(max_examples=50)
@given(dags(), st.integers(1, 12))
def test_levels_lead_to_the_same_parts(dag: Dag, size: int) -> None:
    step = BalancedMerge(size)
    levels = list(step.levels(dag))
    sizes = [len(dag), *(len(level.coarse) for level in levels)]
    assert sizes == sorted(set(sizes), reverse=True)
    if levels:
        found = step.apply(dag)
        part_of = invert_all(levels, np.arange(len(levels[-1].coarse)))
        assert (part_of == found.part_of).all()


@settings(max_examples=50)
@given(dags(), st.integers(1, 12))
def test_no_path_gets_heavier_than_allowed(dag: Dag, size: int) -> None:
    heaviest = 1.5 * heaviest_path(dag)
    assert heaviest_path(BalancedMerge(size, heaviest).apply(dag).coarse) <= heaviest


@given(dags())
def test_paths_through_merged_nodes_are_those_of_the_merged_graph(dag: Dag) -> None:
    graph = digraph(dag)
    for tail, head in graph.edges:
        merged = nx.contracted_nodes(graph, tail, head, self_loops=False, copy=True)
        if not nx.is_directed_acyclic_graph(merged):
            continue
        work = dict(enumerate(dag.least_work.tolist()))
        work[tail] += work[head]
        before, behind = (_heaviest(g, tail, work) for g in (merged, merged.reverse()))
        found = paths_through(dag, np.array([tail]), np.array([head]))[0]
        assert found == before + behind - work[tail]


def _heaviest(graph: nx.DiGraph[int], end: int, work: dict[int, float]) -> float:
    found: dict[int, float] = {}
    for node in nx.topological_sort(graph):
        before = (found[other] for other in graph.predecessors(node))
        found[node] = work[node] + max(before, default=0.0)
    return found[end]


def test_modules_stay_together_before_anything_else_does() -> None:
    # Two modules of two nodes each, with more bytes between them than inside.
    dag = make_dag(
        [1, 1, 1, 1], [(0, 1, [1]), (1, 9, [2]), (2, 1, [3])], ["a.x", "a.y", "b.x", "b.y"]
    )
    assert BalancedMerge(2).apply(dag).part_of.tolist() == [0, 0, 1, 1]


def test_no_part_is_made_that_no_device_can_run() -> None:
    # Each node runs on one device only, in turn; only nodes of one device may meet.
    work = np.full((6, 2), np.inf)
    work[np.arange(6), np.arange(6) % 2] = 1.0
    chain = make_dag([1.0] * 6, [(i, 1, [i + 1]) for i in range(5)])
    barred = Dag(work, chain.maker, chain.sizes, chain.read, chain.reader, chain.ancestry)
    assert len(BalancedMerge(1).apply(barred).coarse) == 6


def test_a_wide_graph_keeps_its_width() -> None:
    # Eight chains of eight side by side: as many parts, and none waits for another.
    count = 64
    dag = make_dag([1.0] * count, [(i, 1, [i + 8]) for i in range(count - 8)])
    coarse = BalancedMerge(8).apply(dag).coarse
    assert coarse.least_work.tolist() == [8.0] * 8
    assert heaviest_path(coarse) == 8.0
