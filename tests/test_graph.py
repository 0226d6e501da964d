"""Graphs are validated where they are built, and answer questions by index."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from parplan.errors import InputError
from parplan.graph import Graph, Kind, Mode, Operator, ParameterGroup, Tensor
from tests.strategies import graphs


def diamond(**changes: Any) -> Graph:
    """Operator a feeds b and c, which feed d."""
    operators = [Operator(name) for name in "abcd"]
    tensors = [
        Tensor("x", "a", ("b", "c"), 4),
        Tensor("y", "b", ("d",), 2),
        Tensor("z", "c", ("d",), 3),
    ]
    parts = {"operators": operators, "tensors": tensors, "parameters": (), **changes}
    return Graph("diamond", *(tuple(parts[k]) for k in ("operators", "tensors", "parameters")))


def test_who_makes_and_who_reads() -> None:
    graph = diamond()
    assert graph.producers == (0, 1, 2)
    assert graph.consumers == ((1, 2), (3,), (3,))
    assert graph.inputs == ((), (0,), (0,), (1, 2))
    assert graph.outputs == ((0,), (1,), (2,), ())
    assert graph.topological_order == (0, 1, 2, 3)
    assert sorted(graph.digraph.edges) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_modes_say_what_is_read_written_and_kept() -> None:
    light = Mode("light", reads=(), writes={"y": 1}, parameter_bytes={"w": 5})
    graph = diamond(
        operators=[
            Operator("a"),
            Operator("b", modes=(Mode(), light), parameters=("w", "v")),
            Operator("c"),
            Operator("d"),
        ],
        parameters=[ParameterGroup("w", 1, 2, 4), ParameterGroup("v", 8)],
    )
    assert (graph.reads(1, 0), graph.reads(1, 1)) == ((0,), ())
    assert (graph.writes(1, 0), graph.writes(1, 1)) == ({1: 2}, {1: 1})
    assert graph.parameter_bytes(1, 0) == {0: 7, 1: 8}
    assert graph.parameter_bytes(1, 1) == {0: 5, 1: 8}


def test_operators_by_kind() -> None:
    graph = diamond(operators=[*(Operator(n) for n in "abc"), Operator("d", Kind.BACKWARD)])
    assert list(graph.with_kind(Kind.BACKWARD)) == [3]


@given(graph=graphs())
def test_producers_come_first(graph: Graph) -> None:
    place = {operator: i for i, operator in enumerate(graph.topological_order)}
    assert sorted(place) == list(range(len(graph.operators)))
    for producer, consumers in zip(graph.producers, graph.consumers, strict=True):
        assert all(place[producer] < place[consumer] for consumer in consumers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operators": []}, "graph 'diamond' has no operators"),
        ({"operators": [Operator(n) for n in "abcda"]}, "two operators are named 'a'"),
        ({"tensors": [Tensor("x", "a"), Tensor("x", "b")]}, "two tensors are named 'x'"),
        (
            {"parameters": [ParameterGroup("w"), ParameterGroup("w")]},
            "two parameter groups are named 'w'",
        ),
        ({"tensors": [Tensor("x", "q")]}, "tensor 'x' names unknown operator 'q'"),
        ({"tensors": [Tensor("x", "a", ("q",))]}, "tensor 'x' names unknown operator 'q'"),
        ({"tensors": [Tensor("x", "a", ("a",))]}, "'a' reads its own result"),
        (
            {"tensors": [Tensor("x", "a", ("b",)), Tensor("y", "b", ("a",))]},
            "has a cycle: a -> b -> a; a plan needs a DAG",
        ),
        (
            {"operators": [Operator("a", parameters=("w",)), *(Operator(n) for n in "bcd")]},
            "operator 'a' reads unknown parameter group 'w'",
        ),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        diamond(**changes)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (Mode("m", reads=("y",)), "operator 'b', mode 'm' reads 'y', which does not reach it"),
        (Mode("m", writes={"x": 1}), "operator 'b', mode 'm' writes 'x', which it does not"),
        (Mode("m", writes={"y": -1}), "bytes of 'y' is -1"),
        (Mode("m", parameter_bytes={"w": 1}), "sizes parameter group 'w', not its own"),
    ],
)
def test_modes_that_do_not_fit_their_operator(mode: Mode, message: str) -> None:
    operators = [Operator("b" if n == "b" else n, modes=(mode,) if n == "b" else ())
                 for n in "abcd"]  # fmt: skip
    with pytest.raises(InputError, match=message):
        diamond(operators=operators, parameters=[ParameterGroup("w")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Operator(""), "an operator has no name"),
        (lambda: Operator("a", flops=float("nan")), "operator 'a': flops is nan"),
        (lambda: Operator("a", modes=(Mode(), Mode())), "'a': two modes have the same name"),
        (lambda: Mode("m", devices=0), "mode 'm': devices is 0"),
        (lambda: Mode("m", seconds={"*": -1.0}), r"mode 'm': seconds on '\*' is -1.0"),
        (lambda: Mode("m", devices=2, groups=(("g0", "g0"),)), "must name 2 different devices"),
        (lambda: Tensor("t", "a", ("b", "b")), "tensor 't': a consumer is named twice"),
        (lambda: Tensor("t", "a", bytes=-1), "tensor 't': bytes is -1"),
        (lambda: ParameterGroup("w", -1), "parameter group 'w': weight_bytes is -1"),
    ],
)
def test_parts_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_seconds_fall_back_to_all_kinds() -> None:
    mode = Mode(seconds={"fast": 1.0, "*": 3.0})
    assert (mode.seconds_on("fast"), mode.seconds_on("slow")) == (1.0, 3.0)
    assert Mode(seconds={"fast": 1.0}).seconds_on("slow") is None
