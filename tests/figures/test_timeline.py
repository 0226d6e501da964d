from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parplan.figures.timeline import coverage, device_rows, link_rows
from parplan.figures.usage import link_use
from parplan.schedule import Schedule
from tests.strategies import schedules


@given(schedules())
def test_bars_of_a_lane_do_not_overlap(schedule: Schedule) -> None:
    for row in [*device_rows(schedule), *link_rows(schedule)]:
        for lane in range(row.lanes):
            mine = row.lane == lane
            assert (row.start[mine][1:] >= row.end[mine][:-1]).all()


@given(schedules())
def test_lanes_are_as_few_as_can_be(schedule: Schedule) -> None:
    for row in device_rows(schedule):
        spans = list(zip(row.start.tolist(), row.end.tolist(), strict=True))
        most = max((sum(a <= t < b for a, b in spans) for t, _ in spans), default=0)
        assert row.lanes == max(most, 1)


@given(schedules())
def test_rows_hold_what_the_reports_count(schedule: Schedule) -> None:
    tick = schedule.problem.tick_s
    for row, use in zip(link_rows(schedule), link_use(schedule), strict=True):
        held = int((row.end - row.start).sum()) * tick
        assert abs(held - use.busy_s) < 1e-9
    everyone = range(len(schedule.tasks))
    groups = [len(schedule.alternative(row).devices) for row in everyone]
    assert sum(len(row.tasks) for row in device_rows(schedule)) == sum(groups)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=8),
    st.lists(st.integers(0, 40), min_size=2, max_size=9, unique=True),
)
def test_coverage_counts_ticks_within_bins(
    spans: list[tuple[int, int]], instants: list[int]
) -> None:
    start = np.array([a for a, _ in spans], dtype=np.int64)
    end = start + np.array([d for _, d in spans], dtype=np.int64)
    edges = np.array(sorted(instants), dtype=np.int64)
    counted = [
        sum(a <= t < b for t in range(low, high) for a, b in zip(start, end, strict=True))
        for low, high in pairwise(edges)
    ]
    assert coverage(start, end, edges).tolist() == counted
