"""Ticks are fine enough, and what rounding costs is reported."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.graph import Graph, Mode, Operator
from parplan.problem import Problem
from parplan.rounding import all_seconds, fitting_tick, least_makespan_s, rounding_report
from parplan.schedule import Schedule
from parplan.workload import Workload
from tests.examples import chain
from tests.strategies import problems, schedules


def _timed(*seconds: float, microbatches: int = 1) -> Problem:
    problem = chain(1, microbatches=microbatches)
    operators = tuple(
        Operator(f"o{i}", modes=(Mode(seconds={"*": s}),)) for i, s in enumerate(seconds)
    )
    return attrs.evolve(problem, graph=Graph("timed", operators))


@pytest.mark.parametrize(
    ("seconds", "tick"),
    [((1.0, 2.0), 1.0), ((0.3, 2.0), 0.1), ((0.0, 1e-3), 1e-3), ((0.0,), 1.0), ((2.5e-9,), None)],
)
def test_whole_durations_are_exact(seconds: tuple[float, ...], tick: float | None) -> None:
    problem = _timed(*seconds)
    found = fitting_tick(problem)
    if tick is not None:
        assert found == pytest.approx(tick)
        report = rounding_report(attrs.evolve(problem, tick_s=found))
        assert report.exact
        assert (report.largest_s, report.makespan_part) == (0.0, 0.0)


@settings(max_examples=40)
@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=8), st.integers(1, 100))
def test_rounding_moves_the_makespan_by_at_most_a_millionth(
    seconds: list[float], microbatches: int
) -> None:
    problem = _timed(*seconds, microbatches=microbatches)
    tick = fitting_tick(problem)
    problem = attrs.evolve(problem, tick_s=tick)
    # On one device the makespan is the sum of all durations.
    exact = sum(seconds) * microbatches
    rounded = sum(
        problem.ticks(o, problem.alternatives[o][0], m) * tick for o, m in problem.tasks()
    )
    assert exact * (1 - 1e-9) <= rounded <= exact * (1 + 1e-6 + 1e-9)
    assert rounding_report(problem).makespan_part <= 1e-6


@settings(max_examples=40)
@given(schedules())
def test_least_makespan_is_a_lower_bound(schedule: Schedule) -> None:
    problem = schedule.problem
    makespan = schedule.makespan * problem.tick_s
    assert least_makespan_s(problem) <= makespan * (1 + 1e-9)


@settings(max_examples=40)
@given(problems())
def test_every_time_that_a_problem_uses_is_looked_at(problem: Problem) -> None:
    seen = set(all_seconds(problem))
    for operator, microbatch in problem.tasks():
        for alternative in problem.alternatives[operator]:
            assert problem.seconds(operator, alternative, microbatch) in seen
    links = problem.cluster.links
    count = range(len(problem.cluster.devices))
    for a, b in ((a, b) for a in count for b in count if a != b):
        route = problem.cluster.route(a, b)
        assert route is not None
        used = [links[problem.cluster.link_index[name]] for name in route.links]
        assert sum(link.latency_s for link in used) in seen


def test_report_says_what_a_coarse_tick_costs() -> None:
    report = rounding_report(attrs.evolve(_timed(0.25, 1.0), tick_s=0.1))
    assert not report.exact
    assert report.largest_s == pytest.approx(0.05)
    assert report.makespan_part >= 0.05 / 1.25


def test_scales_and_releases_are_times_too() -> None:
    problem = attrs.evolve(
        _timed(1.0), workload=Workload(microbatches=2, scales=(1.0, 0.25), releases_s=(0.0, 0.125))
    )
    assert fitting_tick(problem) == pytest.approx(1e-3)
