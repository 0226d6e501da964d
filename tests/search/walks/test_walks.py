"""Walks are timed as their exact schedules are, fit wherever one microbatch does, and improve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.api import load_registry
from parplan.checking import check_schedule
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from parplan.search.walks.course import Course, can_walk, make_course
from parplan.search.walks.kernel import NUMBERS, POLICIES, annealed, timed
from parplan.search.walks.searching import searched_by_walks
from parplan.search.walks.starts import starting_walks
from parplan.search.walks.walk import Walk, passes_of_walk, realised
from tests.search.pipelines import even_pipeline
from tests.search.walks.plain_timing import plain_timed

NONE = np.empty((0, 3), dtype=np.int64)


def placer_of(problem: Problem) -> Placer:
    rules = make_rules(problem, load_registry())
    return Placer(problem, rules, find_blocks(problem, rules))


def timed_walk(course: Course, devices: list[int], policy: tuple[int, ...]) -> float:
    return float(timed(*course, 1.0, np.array(devices), np.array(policy), NONE))


@pytest.fixture(scope="module")
def tight() -> Placer:
    """Eight blocks on three devices with room for four blocks' microbatches each, and delays."""
    return placer_of(even_pipeline(8, 3, 6, (1.0, 2.0, 1.0), memory=4, delay=0.5, tick_s=0.25))


walks = st.lists(st.integers(0, 2), min_size=8, max_size=8)
policies = st.tuples(*(st.integers(0, choices - 1) for choices in POLICIES))


@given(devices=walks, policy=policies)
@settings(max_examples=40, deadline=None)
def test_the_compiled_timing_is_that_of_its_twin(
    tight: Placer, devices: list[int], policy: tuple[int, ...]
) -> None:
    course = make_course(tight)
    makespan, passes = plain_timed(course, devices, list(policy))
    assert timed_walk(course, devices, policy) == makespan
    walk = Walk(tuple(devices), policy, makespan)
    found = [one for _, one in passes_of_walk(course, walk)]
    kinds = ["F", "B", "W"]
    assert [(kinds.index(p.kind), p.stage, p.microbatch) for p in found] == passes


@given(devices=walks, policy=policies)
@settings(max_examples=40, deadline=None)
def test_what_has_room_for_one_microbatch_never_locks_and_is_timed_exactly(
    tight: Placer, devices: list[int], policy: tuple[int, ...]
) -> None:
    course = make_course(tight)
    makespan = timed_walk(course, devices, policy)
    roomy = all(devices.count(d) <= 4 for d in devices)
    assert math.isfinite(makespan) == roomy
    if roomy:
        candidate = realised(tight, course, Walk(tuple(devices), policy, makespan))
        assert candidate is not None
        assert candidate.figure == makespan
        assert not check_schedule(Finisher(tight).expand(candidate), tight.rules)


def test_annealing_returns_the_best_it_met(tight: Placer) -> None:
    course = make_course(tight)
    start = starting_walks(tight, course, [])[0]
    numbers = np.random.default_rng(1).random((2000, NUMBERS + 1))
    devices, policy, figure = annealed(
        *course, 1.0, np.array(start.devices), np.array(start.policy), numbers, (0.05, 0.001)
    )
    assert figure < start.figure
    assert timed_walk(course, devices.tolist(), tuple(policy)) == figure


def test_the_search_ends_at_its_target_with_a_schedule(tight: Placer) -> None:
    slow = 3 * 6 * 8 * 4 * 4
    found = next(iter(searched_by_walks(tight, [], None, 1, math.inf, 0, target=slow)))
    assert found.figure <= slow


def test_walks_are_for_pipelines_of_one_direction_with_a_choice() -> None:
    assert can_walk(placer_of(even_pipeline(4, 2, 4)))
    assert not can_walk(placer_of(even_pipeline(4, 2, 1)))
    assert not can_walk(placer_of(even_pipeline(4, 2, 4, groups=(0, 1, 0, 1))))
