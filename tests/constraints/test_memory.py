"""Weights, tensors and workspace fit into the usable memory of each device."""

from __future__ import annotations

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.graph import ParameterGroup
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.examples import chain, placed


def loaded(memory: int, reserve: int = 0) -> Problem:
    """Two operators that share 10 bytes of weights; a tensor of 3 bytes and workspace of 5."""
    problem = chain(2, microbatches=2, size=3)
    mode = attrs.evolve(problem.graph.operators[0].modes[0], workspace_bytes=5)
    operators = tuple(
        attrs.evolve(o, parameters=("w",), modes=(mode,)) for o in problem.graph.operators
    )
    graph = attrs.evolve(problem.graph, operators=operators, parameters=(ParameterGroup("w", 10),))
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=memory, reserve_bytes=reserve)
    cluster = attrs.evolve(problem.cluster, devices=(device,))
    return attrs.evolve(problem, graph=graph, cluster=cluster)


# One after another, both microbatches' tensors live while o0 runs for the second: 10 + 6 + 5.
@pytest.mark.parametrize(
    ("memory", "reserve", "over"), [(21, 0, None), (20, 0, 1), (24, 3, None), (24, 4, 1)]
)
def test_weights_once_tensors_and_workspace(
    memory: int, reserve: int, over: int | None, registry: Registry
) -> None:
    problem = loaded(memory, reserve)
    found = check_schedule(placed(problem), make_rules(problem, registry))
    assert [v.amount for v in found] == ([] if over is None else [over])


def test_weights_alone_may_be_too_much(registry: Registry) -> None:
    problem = loaded(9)
    (violation,) = check_schedule(placed(problem), make_rules(problem, registry))
    assert violation.tick == 0
    assert (violation.where, violation.amount) == ("g0.memory", 12)


def test_devices_without_a_capacity_are_not_limited(registry: Registry) -> None:
    rules = make_rules(chain(2), registry)
    assert all(".memory" not in resource.name for _, resource in rules.resources)


def test_weights_may_count_alone(registry: Registry) -> None:
    alone = (Rule("memory", {"weights_only": True}),)
    problem = attrs.evolve(loaded(10), constraints=alone)
    assert check_schedule(placed(problem), make_rules(problem, registry)) == ()
    problem = attrs.evolve(loaded(9), constraints=alone)
    (violation,) = check_schedule(placed(problem), make_rules(problem, registry))
    assert violation.amount == 1
