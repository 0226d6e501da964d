"""Useful work over what all devices could do."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

from parplan.errors import InputError
from parplan.objectives.utilization import Utilization
from parplan.problem import Problem
from parplan.schedule import Schedule
from tests.examples import block, chain, placed, recomputing
from tests.strategies import schedules


def with_work(flops: float, dtype: str = "bf16", devices: int = 1) -> Problem:
    problem = chain(2, devices=devices, seconds=2.0)
    operators = tuple(attrs.evolve(o, flops=flops, dtype=dtype) for o in problem.graph.operators)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))


def test_useful_work_over_makespan_times_the_peak_of_all_devices() -> None:
    assert Utilization().value(placed(with_work(1.0))) == pytest.approx(0.5)
    assert Utilization().value(placed(with_work(1.0, devices=4))) == pytest.approx(0.125)


def test_each_number_format_counts_by_its_own_peak() -> None:
    problem = with_work(1.0)
    device = attrs.evolve(problem.cluster.devices[0], peak_flops={"bf16": 1.0, "fp8": 2.0})
    first, second = problem.graph.operators
    problem = attrs.evolve(
        problem,
        cluster=attrs.evolve(problem.cluster, devices=(device,)),
        graph=attrs.evolve(problem.graph, operators=(first, attrs.evolve(second, dtype="fp8"))),
    )
    assert Utilization().value(placed(problem)) == pytest.approx((1.0 + 0.5) / 4)


def test_recomputation_is_not_useful_work() -> None:
    problem = recomputing(block(1))
    light = ("recompute", "g0")
    again = placed(problem, **{"layers.0:forward": light, "layers.0:backward": light})
    assert Utilization().value(placed(problem)) == pytest.approx(1.0)
    assert Utilization().value(again) == pytest.approx(0.75)


def test_an_unknown_peak_is_told() -> None:
    with pytest.raises(InputError, match="peak_flops for 'fp4'"):
        Utilization().value(placed(with_work(1.0, dtype="fp4")))
    assert Utilization().bound(with_work(1.0, dtype="fp4")) is None


@given(schedule=schedules())
def test_no_schedule_beats_the_bound(schedule: Schedule) -> None:
    bound = Utilization().bound(schedule.problem)
    assert bound is None or Utilization().value(schedule) <= bound * (1 + 1e-9)
