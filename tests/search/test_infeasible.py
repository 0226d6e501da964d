"""What has no plan is refuted rightly, and explained by what clashes and what would help."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, given, reject, settings

from parplan.errors import InfeasibleError
from parplan.graph import Mode, ParameterGroup
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.infeasible import refute
from parplan.search.orchestrator import search
from tests.differential.generators import examples, small_problems
from tests.examples import chain, ruled
from tests.exhaustive import TooLargeError, shortest_schedule

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
OPTIONS = SearchOptions(solver="cp-sat", time_limit_s=30.0, workers=1)


@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(problem=small_problems(4, 2, 6))
def test_what_is_refuted_has_no_schedule(problem: Problem, registry: Registry) -> None:
    try:
        refute(problem, make_rules(problem, registry))
    except InfeasibleError:
        try:
            assert shortest_schedule(problem, max_nodes=50_000) is None
        except TooLargeError:
            reject()


def _with_memory(problem: Problem, memory: int) -> Problem:
    devices = tuple(attrs.evolve(d, memory_bytes=memory) for d in problem.cluster.devices)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=devices))


def test_an_operator_too_large_for_every_device_is_named(registry: Registry) -> None:
    problem = _with_memory(chain(2, devices=2, size=2**31), 2**30)
    with pytest.raises(InfeasibleError, match="'o0' needs 2 GiB by itself") as caught:
        refute(problem, make_rules(problem, registry))
    assert caught.value.conflict == ("memory",)
    assert "1 GiB more on 'g0'" in str(caught.value.repair)


def test_what_takes_no_time_needs_no_room(registry: Registry) -> None:
    problem = _with_memory(chain(1, seconds=0.0), 1)
    operator = problem.graph.operators[0]
    mode = attrs.evolve(operator.modes[0], workspace_bytes=100)
    graph = attrs.evolve(problem.graph, operators=(attrs.evolve(operator, modes=(mode,)),))
    problem = attrs.evolve(problem, graph=graph)
    refute(problem, make_rules(problem, registry))
    plan = search(problem, make_rules(problem, registry), registry, OPTIONS)
    assert plan.value == 0.0


def test_parameters_too_large_for_all_devices_together(registry: Registry) -> None:
    problem = chain(3, devices=2, size=0)
    operators = tuple(attrs.evolve(o, parameters=(f"p{o.name}",)) for o in problem.graph.operators)
    groups = tuple(ParameterGroup(f"p{o.name}", 2**30) for o in operators)
    graph = attrs.evolve(problem.graph, operators=operators, parameters=groups)
    problem = _with_memory(attrs.evolve(problem, graph=graph), 2**30)
    with pytest.raises(InfeasibleError, match="parameters of 3 GiB must be kept where all devices"):
        refute(problem, make_rules(problem, registry))


def test_modes_that_never_go_together_are_named(registry: Registry) -> None:
    problem = chain(2)
    first, second = problem.graph.operators
    silent = attrs.evolve(first, modes=(Mode(seconds={"*": 1.0}, writes={}),))
    graph = attrs.evolve(problem.graph, operators=(silent, second))
    problem = attrs.evolve(problem, graph=graph)
    with pytest.raises(InfeasibleError, match="'t0' cannot get from operator 'o0' to 'o1'"):
        refute(problem, make_rules(problem, registry))


def test_an_order_against_the_data_is_found(registry: Registry) -> None:
    problem = ruled(chain(2), "placement", order=(("o1", "o0"),))
    with pytest.raises(InfeasibleError) as caught:
        search(problem, make_rules(problem, registry), registry, OPTIONS)
    assert caught.value.conflict == ("placement",)
