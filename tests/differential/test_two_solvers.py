"""Up to six operators on three devices: CP-SAT and HiGHS find the same optimum."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parplan.problem import Problem
from parplan.registry import Registry
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import UnprovenError, by_cp_sat, by_highs, optimum, with_declared

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
LIMIT_S = 10.0
MOST_UNPROVEN = 0.02


@pytest.mark.slow
def test_cp_sat_and_highs_find_the_same_optimum(registry: Registry) -> None:
    drawn, unproven = 0, 0

    @settings(max_examples=examples(80), suppress_health_check=QUIET)
    @given(data=st.data(), problem=small_problems(max_operators=6, max_devices=3, max_tasks=8))
    def compare(data: st.DataObject, problem: Problem) -> None:
        nonlocal drawn, unproven
        drawn += 1
        extra = data.draw(declarations(problem)) if data.draw(st.booleans()) else ()
        rules = with_declared(problem, registry, extra)
        try:
            found = [optimum(rules, solve, LIMIT_S) for solve in (by_cp_sat, by_highs)]
        except UnprovenError:
            unproven += 1
            return
        assert found[0] == found[1]

    compare()
    print(f"{drawn} problems, {unproven} unproven within {LIMIT_S:g} s")
    assert unproven <= MOST_UNPROVEN * drawn
