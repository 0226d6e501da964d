"""Repeated blocks: found where they are equal, coarsened alike, and never into a cycle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.search.coarsening.dag import Dag
from parplan.search.coarsening.repeats import RepeatedMerge, repeated_blocks
from tests.search.coarsening.dags import dags, is_acyclic_when_merged, make_dag

LAYER = ([1.0, 2.0, 3.0, 1.0], [(0, 5.0, [1, 2]), (1, 4.0, [3]), (2, 3.0, [3])])
"""Work of four operators, two of them side by side, and the tensors between them."""


def layers(count: int, *, odd: int | None = None) -> Dag:
    """Return equal layers one after another, with one of them a little different."""
    work, inner = LAYER
    works, tensors, modules = [], [], []
    for layer in range(count):
        low = 4 * layer
        works += [w + (1.0 if layer == odd else 0.0) for w in work]
        modules += [f"model.layers.{layer}.{name}" for name in ("in", "left", "right", "out")]
        tensors += [(low + maker, size, [low + r for r in rs]) for maker, size, rs in inner]
        if layer + 1 < count:
            tensors.append((low + 3, 7.0, [low + 4]))
    return make_dag(works, tensors, modules)


def test_equal_layers_are_found_and_another_is_not() -> None:
    (found,) = repeated_blocks(layers(5, odd=2))
    assert found.tolist() == [[4 * i + k for k in range(4)] for i in (0, 1, 3, 4)]


@pytest.mark.parametrize("size", [6, 12, 18])
def test_equal_layers_get_equal_parts(size: int) -> None:
    dag = layers(6)
    found = RepeatedMerge(size).apply(dag)
    assert len(found.coarse) == size
    parts = found.part_of.reshape(6, 4)
    same = parts[:, :, None] == parts[:, None, :]
    assert (same == same[0]).all()
    assert len(set(parts[0].tolist()) & set(parts[1].tolist())) == 0


@given(dags(), st.integers(1, 12))
def test_no_cycle_arises(dag: Dag, size: int) -> None:
    found = RepeatedMerge(size).apply(dag)
    assert is_acyclic_when_merged(dag, found.part_of)


def test_blocks_that_wait_for_each_other_through_the_rest_stay_as_they_are() -> None:
    # Two blocks of two nodes; each block's first node feeds the other block's second one.
    tensors = [(0, 1.0, [3]), (1, 1.0, [2])]
    dag = make_dag([1.0] * 4, tensors, ["a", "b", "a", "b"])
    assert [rows.tolist() for rows in repeated_blocks(dag)] == [[[0, 2], [1, 3]]]
    assert RepeatedMerge(1).apply(dag).part_of.tolist() == [0, 1, 2, 3]
    assert not is_acyclic_when_merged(dag, np.array([0, 1, 0, 1]))
