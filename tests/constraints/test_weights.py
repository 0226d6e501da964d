"""The constraint that keeps the readers of a parameter group together."""

from __future__ import annotations

import attrs

from parplan.constraints.weights import Weights
from parplan.declarations import Together
from parplan.graph import ParameterGroup
from parplan.problem import Problem
from tests.examples import chain


def _problem(*parameters: tuple[str, ...]) -> Problem:
    problem = chain(len(parameters), devices=2)
    graph = problem.graph
    operators = tuple(
        attrs.evolve(operator, parameters=groups)
        for operator, groups in zip(graph.operators, parameters, strict=True)
    )
    names = sorted({name for groups in parameters for name in groups})
    groups = tuple(ParameterGroup(name) for name in names)
    return attrs.evolve(problem, graph=attrs.evolve(graph, operators=operators, parameters=groups))


def test_readers_of_a_group_stay_together_and_others_are_free() -> None:
    problem = _problem(("w",), (), ("w", "v"), ("u",))
    assert list(Weights().declare(problem)) == [Together(("o0", "o2"))]


def test_groups_with_the_same_readers_are_said_once() -> None:
    problem = _problem(("bias", "weight"), ("bias", "weight"), ("bias",))
    assert list(Weights().declare(problem)) == [
        Together(("o0", "o1", "o2")),
        Together(("o0", "o1")),
    ]


def test_replicas_leave_every_reader_free() -> None:
    assert list(Weights(replicas=True).declare(_problem(("w",), ("w",)))) == []
