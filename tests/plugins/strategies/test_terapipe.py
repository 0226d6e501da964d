"""Slices of a sequence: the dynamic program is optimal, and the schedule takes what it says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parplan.plugins.strategies.terapipe import TeraPipe, best_slices, pipeline_time
from parplan.registry import Registry
from parplan.ticks import ticks_up
from parplan.workload import Workload
from tests.plugins.strategies.published import simulate


def compositions(units: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to cut ``units`` into slices."""
    if units == 0:
        yield ()
    for first in range(1, units + 1):
        for rest in compositions(units - first):
            yield (first, *rest)


@given(
    units=st.integers(1, 7),
    stages=st.integers(1, 6),
    figures=st.tuples(*(st.integers(0, 20) for _ in range(3))),
)
def test_no_other_slices_are_faster(units: int, stages: int, figures: tuple[int, int, int]) -> None:
    overhead, linear, quadratic = figures

    def cost(begin: int, end: int) -> float:
        return 1 + overhead + linear * (end - begin) + quadratic * (end**2 - begin**2)

    def total(lengths: tuple[int, ...]) -> float:
        ends = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        return pipeline_time([cost(a, b) for a, b in pairwise(ends)], stages)

    found = best_slices(units, stages, cost)
    assert sum(found) == units
    assert total(found) == min(map(total, compositions(units)))


def test_later_slices_are_no_longer() -> None:
    lengths = best_slices(48, 8, lambda a, b: 1.0 + 0.1 * (b**2 - a**2))
    assert len(lengths) > 2
    assert lengths[0] > lengths[-1]


@pytest.mark.parametrize("devices", [2, 4, 8, 16])
@pytest.mark.parametrize("microbatches", [1, 2, 4])
@pytest.mark.parametrize("times", [(1.0, 1.0, 1.0), (3.0, 4.0, 2.0)])
def test_forward_and_backward_each_take_the_sum_and_the_longest(
    devices: int, microbatches: int, times: tuple[float, float, float], registry: Registry
) -> None:
    recipe = TeraPipe()
    schedule = simulate(recipe, devices, microbatches, registry, times=times)
    slices = recipe.slice_times(devices) * microbatches
    tick_s = schedule.problem.tick_s

    def through(*parts: float) -> float:
        ticks = [sum(ticks_up(part * t, tick_s) for part in parts) for t in slices]
        return pipeline_time(ticks, devices)

    forward, backward, weight = times
    assert schedule.makespan == through(forward) + through(backward, weight)
    # Times are rounded up to whole ticks, pass by pass; but for that they are the formula's.
    wanted = sum(times) * pipeline_time(slices, devices) / tick_s
    assert wanted <= schedule.makespan <= wanted + 3 * (len(slices) + devices)


def test_slices_shorten_one_microbatch_on_several_devices(registry: Registry) -> None:
    whole = 4 * 3.0  # one microbatch, F, B and W on each of four devices
    schedule = simulate(TeraPipe(), 4, 1, registry)
    assert schedule.makespan * schedule.problem.tick_s < 0.6 * whole


def test_what_is_known_of_a_microbatch_holds_for_its_slices() -> None:
    workload = Workload(microbatches=2, groups=(0, 1), scales=(1.0, 2.0), releases_s=(0.0, 5.0))
    recipe = TeraPipe()
    times = recipe.slice_times(4)
    found = recipe.workload(workload, 4)
    n = len(times)
    assert found.microbatches == 2 * n
    assert found.scales == (*times, *(2 * t for t in times))
    assert found.groups == (0,) * n + (1,) * n
    assert found.releases_s == (0.0,) * n + (5.0,) * n
