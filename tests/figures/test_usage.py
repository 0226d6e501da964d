"""The figures of a schedule."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

from parplan.errors import InputError
from parplan.figures import usage
from parplan.plans import Bound
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests import naive
from tests.examples import chain, placed
from tests.strategies import schedules


def sample() -> Schedule:
    """o0 on g0 0-2, its tensor of 3 bytes on the link 2-5, o1 on g1 5-7; g2 does nothing."""
    return placed(chain(2, devices=3, seconds=2.0, size=3), o1="g1")


def test_busy_time_and_bubble_of_each_device() -> None:
    use = {d.name: (d.busy_s, d.bubble) for d in usage.device_use(sample())}
    assert use == {
        "g0": (2.0, pytest.approx(5 / 7)),
        "g1": (2.0, pytest.approx(5 / 7)),
        "g2": (0.0, 1.0),
    }
    assert usage.busy(sample()) == {"g0": 2.0, "g1": 2.0, "g2": 0.0}


def test_memory_over_time() -> None:
    assert usage.peak_memory(sample()) == {"g0": 3, "g1": 3, "g2": 0}
    ticks, levels = usage.memory_over_time(sample(), "g1")
    assert (ticks.tolist(), levels.tolist()) == ([0, 2, 7], [0.0, 3.0, 0.0])


def test_links_count_seconds_and_bytes() -> None:
    use = {k.name: (k.busy_s, k.bytes) for k in usage.link_use(sample()) if k.bytes}
    assert use == {"g0>g1": (3.0, 3)}
    assert usage.moved_bytes(sample()) == 3


def test_seconds_of_each_operator() -> None:
    schedule = placed(chain(2, seconds=2.0, microbatches=3))
    assert usage.operator_seconds(schedule) == {"o0": 6.0, "o1": 6.0}


def test_a_declared_resource_by_name(registry: Registry) -> None:
    schedule = sample()
    rules = make_rules(schedule.problem, registry)
    ticks, levels = usage.resource_profile(schedule, rules, "g0>g1")
    assert (ticks.tolist(), levels.tolist()) == ([0, 2, 5], [0.0, 1.0, 0.0])
    with pytest.raises(InputError, match="no rule declares a resource 'g9'; declared: g0"):
        usage.resource_profile(schedule, rules, "g9")


def test_the_summary_says_the_same() -> None:
    schedule = sample()
    figures = usage.summary(schedule)
    assert figures.makespan_s == 7.0
    assert figures.devices == usage.device_use(schedule)
    assert figures.links == usage.link_use(schedule)
    assert figures.bubble == pytest.approx((5 / 7 + 5 / 7 + 1) / 3)
    assert figures.utilization == usage.utilization(schedule)
    unknown = attrs.evolve(schedule.problem.graph.operators[0], flops=1.0, dtype="fp4")
    graph = attrs.evolve(
        schedule.problem.graph, operators=(unknown, schedule.problem.graph.operators[1])
    )
    problem = attrs.evolve(schedule.problem, graph=graph)
    other = Schedule(problem, schedule.tasks, schedule.transfers)
    assert usage.summary(other).utilization is None


def test_a_bound_says_who_claims_it() -> None:
    assert usage.bound_text(Bound(1.0, source="device load")) == "device load"
    claimed = Bound(1.0, source="cp-sat 9.15", claimed=True)
    assert usage.bound_text(claimed) == "claimed by cp-sat 9.15"
    narrow = Bound(1.0, "this placement", "paths")
    assert usage.bound_text(narrow) == "paths (holds only for this placement)"


@given(schedule=schedules(max_operators=4, max_microbatches=2))
def test_figures_equal_those_counted_tick_by_tick(schedule: Schedule) -> None:
    tasks, tick_s = list(schedule.task_views()), schedule.problem.tick_s
    for use in usage.device_use(schedule):
        held = {t for v in tasks if use.name in v.devices for t in range(v.start, v.end)}
        assert use.busy_s == pytest.approx(len(held) * tick_s)
        ticks, levels = usage.memory_over_time(schedule, use.name)
        for tick in naive.horizon(schedule):
            level = levels[ticks.searchsorted(tick, side="right") - 1]
            assert level == naive.memory_level(schedule, use.name, tick)
