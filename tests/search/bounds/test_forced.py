"""Loads of single resources are bounds whatever each task chooses."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from attrs import frozen

from parplan.contracts import Constraint
from parplan.declarations import Resource, Running
from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.hooks import hookimpl
from parplan.plugins.manager import load_registry
from parplan.problem import Problem, Rule
from parplan.rules import make_rules
from parplan.search.bounds import combinatorial_bounds
from parplan.workload import Workload

AMOUNTS = (7.0, 7.0, 3.0)
SPEEDS = (1, 1, 2)
CAPACITY = 10.0


@frozen
class Shared(Constraint):
    """Two fast devices and a slow one, of which the fast ones do not fit together."""

    name = "shared"

    def declare(self, problem: Problem) -> list[Resource]:
        devices = zip(problem.cluster.devices, AMOUNTS, strict=True)
        demands = [Running(device.name, amount) for device, amount in devices]
        return [Resource("shared", CAPACITY, demands)]


PLUGIN = SimpleNamespace(parplan_constraints=hookimpl(lambda: [Shared]))


def fastest(durations: tuple[int, ...]) -> int:
    """Return the least makespan: the fast devices take turns, the slow one runs beside them."""
    places = itertools.product((False, True), repeat=len(durations))
    return min(
        max(
            sum(d for d, slow in zip(durations, row, strict=True) if not slow),
            sum(2 * d for d, slow in zip(durations, row, strict=True) if slow),
        )
        for row in places
    )


@pytest.mark.parametrize("durations", [(3, 3, 2), (5, 4, 3, 3, 2), (5, 5, 1, 1), (1,)])
def test_amounts_that_differ_by_choice_are_not_taken_for_the_largest(
    durations: tuple[int, ...],
) -> None:
    operators = tuple(
        Operator(f"o{i}", modes=(Mode(seconds={"1": float(d), "2": 2.0 * d}),))
        for i, d in enumerate(durations)
    )
    problem = Problem(
        "shared",
        Graph("independent", operators),
        Cluster("three", tuple(Device(f"d{i}", str(s)) for i, s in enumerate(SPEEDS))),
        Workload(),
        constraints=(Rule("devices"), Rule("shared")),
        tick_s=1.0,
    )
    registry = load_registry([PLUGIN], installed=False)
    bounds = combinatorial_bounds(problem, make_rules(problem, registry))
    assert max(bound.value for bound in bounds) <= fastest(durations)
