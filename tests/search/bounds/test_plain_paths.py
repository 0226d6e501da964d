"""The compiled heads and tails of plain graphs are those that are found arc by arc."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.errors import InfeasibleError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.bounds import beside, plain_paths
from parplan.search.bounds.instance import Instance, compile_instance
from parplan.search.bounds.paths import Windows, find_windows
from parplan.workload import Workload
from tests.strategies import clusters

ONE_DEVICE = Cluster("one", (Device("d"),))


@st.composite
def plain_problems(draw: st.DrawFn) -> Problem:
    """Operators in one or two modes of one device each, with tensors; devices are of two kinds."""
    cluster: Cluster = draw(clusters(max_devices=3, min_devices=2))
    count = draw(st.integers(2, 6))
    names = [f"o{i}" for i in range(count)]
    seconds = st.integers(1, 4).map(float)
    operators = tuple(
        Operator(
            name,
            modes=tuple(
                Mode(f"m{k}", seconds={"*": draw(seconds), "fast": draw(seconds)})
                for k in range(draw(st.integers(1, 2)))
            ),
        )
        for name in names
    )
    pairs = [(i, j) for j in range(count) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8))
    tensors = tuple(
        Tensor(f"t{i}-{j}", names[i], (names[j],), draw(st.integers(0, 9))) for i, j in chosen
    )
    return Problem("plain", Graph("plain", operators, tensors), cluster, Workload(), tick_s=0.25)


def instance_of(problem: Problem, registry: Registry) -> Instance:
    return compile_instance(problem, make_rules(problem, registry))


def both_ways(instance: Instance) -> tuple[Windows, Windows]:
    """Return windows of the compiled kernel, and those that are found arc by arc."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside, "MOST_JOINS", -1)
        compiled = find_windows(instance)
        patch.setattr("parplan.search.bounds.paths.plain_windows", lambda _: None)
        return compiled, find_windows(instance)


@settings(max_examples=60)
@given(problem=plain_problems())
def test_heads_and_tails_are_those_found_arc_by_arc(problem: Problem, registry: Registry) -> None:
    instance = instance_of(problem, registry)
    assert plain_paths.plain_windows(instance) is not None
    compiled, plain = both_ways(instance)
    for mine, theirs in zip(compiled.heads, plain.heads, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(compiled.tails, plain.tails, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("after_edge", ["start", "end"])
@pytest.mark.parametrize("before_edge", ["start", "end"])
def test_lags_tie_the_edges_that_they_name(
    before_edge: str, after_edge: str, registry: Registry
) -> None:
    operators = tuple(
        Operator(n, modes=(Mode(seconds={"*": s}),)) for n, s in (("a", 2.0), ("b", 3.0))
    )
    lag = Rule(
        "precedence",
        {
            "lags": [
                {
                    "before": "a",
                    "after": "b",
                    "seconds": 5.0,
                    "before_edge": before_edge,
                    "after_edge": after_edge,
                }
            ]
        },
    )
    problem = Problem(
        "lag",
        Graph("lag", operators),
        ONE_DEVICE,
        Workload(),
        constraints=(lag,),
        tick_s=1.0,
    )
    compiled, plain = both_ways(instance_of(problem, registry))
    np.testing.assert_array_equal(compiled.heads[1], plain.heads[1])
    np.testing.assert_array_equal(compiled.tails[0], plain.tails[0])
    head = 5 + (2 if before_edge == "end" else 0) - (3 if after_edge == "end" else 0)
    assert compiled.heads[1][0, 0] == head


def test_what_cannot_reach_its_reader_is_named_as_elsewhere(registry: Registry) -> None:
    operators = tuple(
        Operator(n, modes=(Mode(seconds={kind: 1.0}),)) for n, kind in (("a", "x"), ("b", "y"))
    )
    cluster = Cluster("apart", (Device("d", "x"), Device("e", "y")))
    graph = Graph("apart", operators, (Tensor("t", "a", ("b",), 1),))
    instance = instance_of(Problem("apart", graph, cluster, Workload(), tick_s=1.0), registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside, "MOST_JOINS", -1)
        with pytest.raises(InfeasibleError, match="operator 'b'"):
            find_windows(instance)


def test_unlike_microbatches_are_left_to_the_general_way(registry: Registry) -> None:
    operators = (Operator("a", modes=(Mode(seconds={"*": 1.0}),)),)
    problem = Problem(
        "unlike",
        Graph("unlike", operators),
        ONE_DEVICE,
        Workload(microbatches=2, scales=(1.0, 2.0)),
        tick_s=1.0,
    )
    assert plain_paths.plain_windows(instance_of(problem, registry)) is None
    alike = attrs.evolve(problem, workload=Workload(microbatches=2))
    assert plain_paths.plain_windows(instance_of(alike, registry)) is not None
