"""Whatever the list scheduler returns obeys every rule, whatever a problem and its rules say."""

from __future__ import annotations

import random

import attrs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.declarations import Apart, Forbidden, Together
from parplan.errors import InfeasibleError
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules
from parplan.search.list_scheduler import Deadlock, ListScheduler, serial_arcs
from parplan.search.network import build_network, check_capacities
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.strategies import choose, problems

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def check_list_schedules(problem: Problem, rules: Rules, chance: random.Random) -> int:
    """Schedule a random assignment by random priorities; return how many schedules came out."""
    assignment = choose(problem, chance)
    assume(assignment is not None)
    assert assignment is not None
    try:
        network = build_network(problem, rules, assignment)
        check_capacities(network, rules)
    except InfeasibleError:
        return 0
    scheduler = ListScheduler(network)
    found = 0
    for arcs in ([], serial_arcs(network)):
        starts = scheduler.run([chance.random() for _ in range(len(network))], arcs)
        if isinstance(starts, Deadlock):
            continue
        found += 1
        schedule = network.schedule(starts)
        assert check_schedule(schedule, _without_placement(rules)) == ()
        assert scheduler.makespan(starts) == schedule.makespan
    return found


def _without_placement(rules: Rules) -> Rules:
    """The rules that a schedule of any assignment must obey."""
    kept = (d for d in rules.declared if not isinstance(d.what, Forbidden | Together | Apart))
    return attrs.evolve(rules, declared=tuple(kept))


@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(problem=problems(), seed=st.integers(0, 999))
def test_list_schedules_of_any_problem_pass_the_check(
    problem: Problem, seed: int, registry: Registry
) -> None:
    check_list_schedules(problem, with_declared(problem, registry, ()), random.Random(seed))


@settings(max_examples=examples(150), suppress_health_check=QUIET)
@given(data=st.data(), problem=small_problems(5, 3, 12), seed=st.integers(0, 999))
def test_list_schedules_under_declared_rules_pass_the_check(
    data: st.DataObject, problem: Problem, seed: int, registry: Registry
) -> None:
    rules = with_declared(problem, registry, data.draw(declarations(problem)))
    check_list_schedules(problem, rules, random.Random(seed))
