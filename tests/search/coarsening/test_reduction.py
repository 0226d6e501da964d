"""Transitive reduction: the pairs that are left are those of networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parplan.scheduling.tables import Flags
from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.reduction import implied_edges
from tests.search.coarsening.dags import dags, digraph, make_dag


def left_by_networkx(dag: Dag) -> set[tuple[int, int]]:
    """Return the pairs of the transitive reduction."""
    return set(nx.transitive_reduction(digraph(dag)).edges)


def implied(dag: Dag, asked: Flags | None = None) -> Flags:
    """Return which pairs of a graph are implied."""
    return implied_edges(dag.first, dag.pairs.heads, asked)


def left(dag: Dag) -> set[tuple[int, int]]:
    """Return the pairs that are not implied."""
    kept = ~implied(dag)
    return set(zip(dag.pairs.tails[kept].tolist(), dag.pairs.heads[kept].tolist(), strict=True))


@given(dags(16))
def test_what_is_left_is_the_transitive_reduction(dag: Dag) -> None:
    assert left(dag) == left_by_networkx(dag)


@given(dags(), st.data())
def test_only_what_is_asked_for_is_found(dag: Dag, data: st.DataObject) -> None:
    count = len(dag.pairs.tails)
    asked = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_)
    assert (implied(dag, asked) == (implied(dag) & asked)).all()


def test_more_chains_than_one_sweep_looks_at() -> None:
    # 100 nodes side by side between two others, all of which the first one feeds directly, too.
    side = list(range(1, 101))
    tensors = [(0, 1.0, [*side, *range(101, 201)])]
    tensors += [(i, 1.0, [i + 100, 201]) for i in side]
    dag = make_dag([1.0] * 202, tensors)
    assert left(dag) == left_by_networkx(dag)
    assert implied(dag).sum() == 100
