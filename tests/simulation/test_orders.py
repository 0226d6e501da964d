"""Replays keep every rule under any times, and are never later than the plan."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.declarations import Edge, Held, Resource, TimeLag
from parplan.errors import InputError
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.schedule import Schedule
from parplan.simulation.orders import Orders, orders_of
from parplan.simulation.replay import makespans, replay, replay_plainly
from tests import naive
from tests.differential.solving import with_declared
from tests.plan_samples import pipeline_plan
from tests.simulation.realised import violations
from tests.strategies import schedules

REGISTRY = load_registry(installed=False)


def early(schedule: Schedule, rules: Rules) -> Schedule:
    """Return the schedule with everything as early as its orders allow."""
    orders = orders_of(schedule, rules)
    starts = replay(orders, np.ones((len(orders.network), 1)))[:, 0]
    return orders.network.schedule(starts.astype(np.int64).tolist())


def full(schedule: Schedule) -> Schedule:
    """Return the schedule on devices that have exactly the memory which it takes."""
    problem, cluster = schedule.problem, schedule.problem.cluster
    devices = tuple(
        attrs.evolve(d, memory_bytes=max(1, naive.peak_memory(schedule, d.name)))
        for d in cluster.devices
    )
    tight = attrs.evolve(problem, cluster=attrs.evolve(cluster, devices=devices))
    return Schedule(tight, schedule.tasks, schedule.transfers)


def drawn_factors(orders: Orders, seed: int, scenarios: int = 3) -> np.ndarray:
    size = (len(orders.network), scenarios)
    return np.random.default_rng(seed).integers(1, 8, size=size).astype(float)


@given(schedules(), st.integers(0, 99))
def test_no_times_lead_a_replay_to_break_a_rule(schedule: Schedule, seed: int) -> None:
    tight = full(early(schedule, make_rules(schedule.problem, REGISTRY)))
    rules = make_rules(tight.problem, REGISTRY)
    assert [v for v in check_schedule(tight, rules) if v.rule != "fifo"] == []
    try:
        orders = orders_of(tight, rules)
    except InputError:  # what has no length holds nothing in the plan, but may in a replay
        assert (tight.ends == tight.tasks.start).any()
        reject()
    factors = drawn_factors(orders, seed)
    starts = replay(orders, factors)
    for scenario in range(factors.shape[1]):
        whole = factors[:, scenario].astype(np.int64)
        found = violations(orders.network, starts[:, scenario].astype(np.int64), whole, rules)
        assert found == []


@given(schedules())
def test_at_planned_times_nothing_is_later_than_planned(schedule: Schedule) -> None:
    orders = orders_of(schedule, make_rules(schedule.problem, REGISTRY))
    starts = replay(orders, np.ones((len(orders.network), 1)))
    assert (starts[:, 0] <= orders.planned).all()


@given(schedules(), st.integers(0, 99))
def test_compiled_and_plain_replays_agree(schedule: Schedule, seed: int) -> None:
    orders = orders_of(schedule, make_rules(schedule.problem, REGISTRY))
    factors = drawn_factors(orders, seed) / 3
    assert np.array_equal(replay(orders, factors), replay_plainly(orders, factors))


def test_a_plan_without_slack_is_replayed_as_planned(registry: Registry) -> None:
    schedule = pipeline_plan(4, 6).schedule
    orders = orders_of(schedule, make_rules(schedule.problem, registry))
    ones = np.ones((len(orders.network), 1))
    assert makespans(orders, replay(orders, ones), ones) == [schedule.makespan]


def test_a_plan_that_overfills_memory_is_refused(registry: Registry) -> None:
    schedule = full(pipeline_plan(2, 3).schedule)
    problem, cluster = schedule.problem, schedule.problem.cluster
    less = tuple(attrs.evolve(d, memory_bytes=d.memory_bytes - 1) for d in cluster.devices)
    small = attrs.evolve(problem, cluster=attrs.evolve(cluster, devices=less))
    broken = Schedule(small, schedule.tasks, schedule.transfers)
    with pytest.raises(InputError, match="has no room for"):
        orders_of(broken, make_rules(small, registry))


def _lagging(problem: Problem, registry: Registry, seconds: float) -> Rules:
    lag = TimeLag("f.0", "f.1", seconds, Edge.END, Edge.END)
    return with_declared(problem, registry, [lag])


def test_of_a_time_lag_only_the_gap_is_fixed(registry: Registry) -> None:
    schedule = pipeline_plan(2, 1).schedule
    rules = _lagging(schedule.problem, registry, 4.5)
    orders = orders_of(schedule, rules)
    starts = replay(orders, np.full((len(orders.network), 1), 3.0))[:, 0]
    first, second = (orders.network.task_index[o, 0] for o in _indices(schedule, "f.0", "f.1"))
    run = 3.0 * orders.network.durations[first]
    assert starts[second] + run - (starts[first] + run) >= 4.5 / schedule.problem.tick_s


def test_a_largest_time_lag_is_refused(registry: Registry) -> None:
    schedule = pipeline_plan(2, 1).schedule
    late = TimeLag("f.1", "f.0", -30.0, Edge.START, Edge.START)
    rules = with_declared(schedule.problem, registry, [late])
    with pytest.raises(InputError, match="largest distance"):
        orders_of(schedule, rules)


def test_held_amounts_count_between_their_own_edges(registry: Registry) -> None:
    """Between the end of a forward and the start of its backward one may wait, not two."""
    schedule = pipeline_plan(1, 2).schedule
    waiting = Held("f.0", "b.0", Edge.END, Edge.START)
    rules = with_declared(schedule.problem, registry, [Resource("waiting", 2, [waiting])])
    assert len(orders_of(schedule, rules).sequence)
    one = with_declared(schedule.problem, registry, [Resource("waiting", 1, [waiting])])
    with pytest.raises(InputError, match="'waiting' has no room"):
        orders_of(schedule, one)


def _indices(schedule: Schedule, *names: str) -> list[int]:
    return [schedule.problem.graph.operator_index[name] for name in names]
