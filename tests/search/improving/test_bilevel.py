"""The loop of upper model, list schedules and cuts: true bounds, checked schedules, an end."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings

from parplan.errors import InfeasibleError
from parplan.options import SearchOptions
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import Rules, make_rules
from parplan.search.improving.bilevel import bilevel, can_assign
from parplan.search.incumbent import Incumbent
from parplan.search.orchestrator import search
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from tests.search.drawing import pipeline_problems

REGISTRY = load_registry(installed=False)
SOLVER = REGISTRY.solvers["cp-sat"].value
OPTIONS = SearchOptions(time_limit_s=20.0)


def _run(rules: Rules, seconds: float) -> Incumbent:
    placer = Placer(rules.problem, rules, find_blocks(rules.problem, rules))
    incumbent = Incumbent(rules)
    for candidate in bilevel(placer, SOLVER, OPTIONS, incumbent, time.monotonic() + seconds):
        assert incumbent.offer(Finisher(placer).finish(candidate), "assignment") or (
            incumbent.schedule is not None
        )
    return incumbent


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(problem=pipeline_problems(most_blocks=2))
def test_the_bound_is_below_and_the_plan_above_the_optimum(problem: Problem) -> None:
    rules = make_rules(problem, REGISTRY)
    try:
        plan = search(problem, rules, REGISTRY, OPTIONS)
        incumbent = _run(rules, 4.0)
    except InfeasibleError:
        return
    assert incumbent.rejected == []
    assert incumbent.failures == []
    for bound in incumbent.bounds:
        assert bound.value <= plan.value * (1 + 1e-9)
    if incumbent.schedule is not None and plan.status == "optimal":
        assert incumbent.values[0] >= plan.value * (1 - 1e-9)


def test_a_mip_is_not_asked_where_ticks_are_too_fine_for_it() -> None:
    from tests.examples import chain

    rules = make_rules(chain(3, devices=2), REGISTRY)
    assert can_assign(rules, SOLVER, 10**12)
    assert can_assign(rules, REGISTRY.solvers["highs"].value, 10**6)
    assert not can_assign(rules, REGISTRY.solvers["highs"].value, 10**12)
