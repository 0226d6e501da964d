"""Traps of lowering that once gave wrong answers, through the whole model and both backends."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings

from parplan.declarations import Resource, Running
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.model.schedule_model import ModelOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.workload import Workload
from tests.differential.generators import examples, small_problems
from tests.differential.solving import Solve, by_cp_sat, by_highs, optimum, with_declared

BACKENDS = pytest.mark.parametrize("solve", [by_cp_sat, by_highs], ids=["cp-sat", "highs"])


def _chain(lengths: list[float], capacity: int, tensor_bytes: int) -> Problem:
    """Return operators one after the other on one device, each handing a tensor to the next."""
    names = [f"o{i}" for i in range(len(lengths))]
    operators = tuple(
        Operator(name, modes=(Mode(seconds={"*": length}),))
        for name, length in zip(names, lengths, strict=True)
    )
    tensors = tuple(
        Tensor(f"t{i}", names[i], (names[i + 1],), tensor_bytes) for i in range(len(names) - 1)
    )
    cluster = Cluster("one", (Device("g0", memory_bytes=capacity),))
    return Problem("chain", Graph("chain", operators, tensors), cluster, Workload(), tick_s=1.0)


@BACKENDS
def test_what_an_instant_frees_is_free_at_that_instant(solve: Solve, registry: Registry) -> None:
    """Levels are judged after all events of an instant, through a chain of zero lengths."""
    rules = make_rules(_chain([2.0, 0.0, 0.0, 2.0], capacity=5, tensor_bytes=5), registry)
    assert optimum(rules, solve) == 4


@BACKENDS
def test_what_overlaps_for_one_tick_needs_room_for_both(solve: Solve, registry: Registry) -> None:
    problem = _chain([2.0, 1.0, 0.0, 2.0], capacity=9, tensor_bytes=5)
    assert optimum(make_rules(problem, registry), solve) is None
    roomy = attrs.evolve(problem, cluster=Cluster("one", (Device("g0", memory_bytes=10),)))
    assert optimum(make_rules(roomy, registry), solve) == 5


@BACKENDS
def test_presolve_does_not_lose_the_optimum(solve: Solve, registry: Registry) -> None:
    """With its presolve HiGHS 1.12 to 1.15.1 calls 2 optimal here: o2 runs in [0, 1)."""
    alone, both = Mode("alone", seconds={"*": 0.0}), Mode("both", devices=2, seconds={"*": 0.0})
    graph = Graph(
        "three",
        (
            Operator("o0", modes=(alone, attrs.evolve(both, ring_bytes=4, ring_steps=1))),
            Operator("o1", modes=(alone,)),
            Operator("o2", modes=tuple(attrs.evolve(m, seconds={"*": 1.0}) for m in (alone, both))),
        ),
        (Tensor("t0", "o0", ("o1", "o2")),),
    )
    cluster = Cluster(
        "two",
        (Device("g0"), Device("g1")),
        (Link("out", "g0", "g1", 1.0), Link("back", "g1", "g0", 1.0)),
        groups=(("g0", "g1"),),
    )
    watts = Resource("watts", 2.0, [Running("g0", 0.5), Running("g1", 0.5)])
    problem = Problem("three", graph, cluster, Workload(), tick_s=1.0)
    assert optimum(with_declared(problem, registry, [watts]), solve) == 1


QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=examples(40), suppress_health_check=QUIET)
@given(problem=small_problems(max_operators=4, max_devices=2, max_tasks=4))
def test_what_is_absent_does_not_need_room_in_the_horizon(
    problem: Problem, registry: Registry
) -> None:
    """With the optimum as horizon, alternatives that would be too slow are merely not chosen."""
    rules = make_rules(problem, registry)
    best = optimum(rules, by_cp_sat)
    assume(best)
    assert best is not None
    for solve in (by_cp_sat, by_highs):
        assert optimum(rules, solve, options=ModelOptions(horizon=best)) == best
        assert optimum(rules, solve, options=ModelOptions(horizon=best - 1)) is None
