"""The most memory in use on any device."""

from __future__ import annotations

import attrs
from hypothesis import given

from parplan.graph import ParameterGroup
from parplan.objectives.peak_memory import PeakMemory
from parplan.problem import Problem
from parplan.schedule import Schedule
from tests import naive
from tests.examples import block, chain, placed
from tests.strategies import schedules


def weighted(devices: int) -> Problem:
    """Two operators, each with 10 bytes of parameters and a result of 3 bytes."""
    problem = chain(2, devices=devices, size=3)
    operators = tuple(
        attrs.evolve(o, parameters=(f"w{i}",)) for i, o in enumerate(problem.graph.operators)
    )
    groups = tuple(ParameterGroup(f"w{i}", 10) for i in range(2))
    graph = attrs.evolve(problem.graph, operators=operators, parameters=groups)
    return attrs.evolve(problem, graph=graph)


def test_the_largest_peak_of_all_devices_counts() -> None:
    problem = weighted(2)
    assert PeakMemory().value(placed(problem)) == 23.0
    assert PeakMemory().value(placed(problem, o1="g1")) == 13.0


def test_the_bound_divides_parameters_and_knows_the_largest_operator() -> None:
    assert PeakMemory().bound(weighted(1)) == 20.0
    assert PeakMemory().bound(weighted(2)) == 13.0
    assert PeakMemory().bound(block(2)) == 5.0


@given(schedule=schedules())
def test_no_schedule_beats_the_bound(schedule: Schedule) -> None:
    bound = PeakMemory().bound(schedule.problem)
    assert bound is not None
    assert bound <= PeakMemory().value(schedule)


@given(schedule=schedules(max_operators=4, max_microbatches=2))
def test_the_value_equals_the_naive_sum(schedule: Schedule) -> None:
    names = [device.name for device in schedule.problem.cluster.devices]
    assert PeakMemory().value(schedule) == max(naive.peak_memory(schedule, n) for n in names)
