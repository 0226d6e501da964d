"""Merging: parts have what their members have, and what is found for them comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parplan.search.coarsening.dag import NO_MODULE, Dag
from parplan.search.coarsening.merging import invert_all, merge
from tests.search.coarsening.dags import dags, is_acyclic_when_merged, make_dag


@given(dags(), st.data())
def test_parts_have_what_their_members_have(dag: Dag, data: st.DataObject) -> None:
    labels = np.array([data.draw(st.integers(0, 5)) for _ in range(len(dag))], dtype=np.int64)
    if not is_acyclic_when_merged(dag, labels):
        with pytest.raises(ValueError, match="wait for one another"):
            merge(dag, labels)
        return
    found = merge(dag, labels)
    coarse, part_of = found.coarse, found.part_of
    assert len(coarse) == len(set(labels.tolist()))
    # Two nodes are in one part just where they have one label, and are listed as its members.
    assert ((part_of[:, None] == part_of) == (labels[:, None] == labels)).all()
    for part, members in enumerate(found.members):
        assert (part_of[members] == part).all()
        assert coarse.work[part].tolist() == dag.work[members].sum(axis=0).tolist()
    assert sum(map(len, found.members)) == len(dag)
    # A tensor is read once by each other part that has a reader.
    sent = {
        (t, int(part_of[r]))
        for t, r in zip(dag.read.tolist(), dag.reader.tolist(), strict=True)
        if part_of[dag.maker[t]] != part_of[r]
    }
    assert len(coarse.read) == len(sent)
    assert coarse.sizes[coarse.read].sum() == sum(dag.sizes[t] for t, _ in sent)


@given(dags(), st.data())
def test_what_is_found_for_parts_comes_back_through_a_chain(dag: Dag, data: st.DataObject) -> None:
    chain = []
    graph = dag
    for _ in range(2):
        labels = np.array([data.draw(st.integers(0, 3)) for _ in range(len(graph))], np.int64)
        assume(is_acyclic_when_merged(graph, labels))
        chain.append(merge(graph, labels))
        graph = chain[-1].coarse
    device = np.arange(len(graph)) * 10
    fine = invert_all(chain, device)
    for node in range(len(dag)):
        assert fine[node] == 10 * chain[1].part_of[chain[0].part_of[node]]


def test_a_part_stands_in_the_deepest_module_that_holds_it() -> None:
    dag = make_dag([1, 1, 1], [(0, 1, [1]), (1, 1, [2])], ["a.b", "a.c.d", "e"])
    found = merge(dag, np.array([0, 0, 1], dtype=np.int64)).coarse
    assert found.ancestry[0].tolist() == [dag.ancestry[0, 0], NO_MODULE, NO_MODULE]
    assert found.ancestry[1].tolist() == dag.ancestry[2].tolist()


def test_a_graph_that_may_have_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="topological order"):
        make_dag([1, 1], [(1, 1, [0])])
