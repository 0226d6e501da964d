"""Up to four operators on two devices: what full enumeration finds, both solvers find."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, reject, settings

from parplan.checking import check_schedule
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.differential.generators import examples, small_problems
from tests.differential.solving import by_cp_sat, by_highs, optimum
from tests.exhaustive import TooLargeError, shortest_schedule

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=examples(300), suppress_health_check=QUIET)
@given(problem=small_problems(max_operators=4, max_devices=2, max_tasks=6))
def test_cp_sat_and_highs_find_the_optimum_of_full_enumeration(
    problem: Problem, registry: Registry
) -> None:
    try:
        best = shortest_schedule(problem, max_nodes=100_000)
    except TooLargeError:
        reject()
    if best is not None:
        assert check_schedule(best, make_rules(problem, registry)) == ()
    expected = None if best is None else best.makespan
    assert optimum(problem, registry, by_cp_sat) == expected
    assert optimum(problem, registry, by_highs) == expected
