"""Up to four operators on two devices: what full enumeration finds, both solvers find."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import by_cp_sat, by_highs, optimum, with_declared
from tests.exhaustive import TooLargeError, shortest_schedule

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def _agree(problem: Problem, rules: Rules, expected: int | None) -> None:
    assert optimum(rules, by_cp_sat) == expected
    assert optimum(rules, by_highs) == expected


@pytest.mark.slow
@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(problem=small_problems(max_operators=4, max_devices=2, max_tasks=6))
def test_cp_sat_and_highs_find_the_optimum_of_full_enumeration(
    problem: Problem, registry: Registry
) -> None:
    rules = with_declared(problem, registry, ())
    try:
        best = shortest_schedule(problem, max_nodes=100_000)
    except TooLargeError:
        reject()
    if best is not None:
        assert check_schedule(best, rules) == ()
    _agree(problem, rules, None if best is None else best.makespan)


@pytest.mark.slow
@settings(max_examples=examples(60), suppress_health_check=QUIET)
@given(data=st.data(), problem=small_problems(max_operators=4, max_devices=2, max_tasks=4))
def test_declared_rules_hold_in_model_and_enumeration_alike(
    data: st.DataObject, problem: Problem, registry: Registry
) -> None:
    """What is declared is judged by the checker: each complete schedule is put before it."""
    rules = with_declared(problem, registry, data.draw(declarations(problem)))
    try:
        best = shortest_schedule(
            problem,
            max_nodes=30_000,
            accept=lambda schedule: check_schedule(schedule, rules) == (),
            pause=4 * problem.workload.microbatches,  # what time lags may add
        )
    except TooLargeError:
        reject()
    _agree(problem, rules, None if best is None else best.makespan)
