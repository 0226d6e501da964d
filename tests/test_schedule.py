"""Schedules: columns, and views with names."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given

from parplan.errors import InputError
from parplan.problem import STEP
from parplan.schedule import Schedule, Tasks, TaskView, Transfers, TransferView
from tests.examples import chain, placed
from tests.strategies import schedules


def test_views_carry_names() -> None:
    schedule = placed(chain(2, devices=2, seconds=2.0, size=3), o1="g1")
    assert list(schedule.task_views()) == [
        TaskView("o0", 0, "default", ("g0",), 0, 2),
        TaskView("o1", 0, "default", ("g1",), 5, 7),
    ]
    assert list(schedule.transfer_views()) == [
        TransferView("t0", 0, "g0", "g1", ("g0>g1",), 2, 5, 5)
    ]
    assert schedule.makespan == 7


def test_columns_have_one_length_and_cannot_be_changed() -> None:
    with pytest.raises(InputError, match="columns have different lengths"):
        Tasks([0], [0, 1], [0], [0])
    tasks = Tasks([0], [0], [0], [0])
    with pytest.raises(ValueError, match="read-only"):
        tasks.start[0] = 1


def test_an_empty_schedule_ends_at_0() -> None:
    nothing = Schedule(chain(1), Tasks([], [], [], []), Transfers([], [], [], [], []))
    assert nothing.makespan == 0


def test_a_transfer_without_a_route_is_told() -> None:
    schedule = placed(chain(2, devices=2), o1="g1")
    cut = attrs.evolve(schedule.problem.cluster, links=())
    problem = attrs.evolve(schedule.problem, cluster=cut)
    with pytest.raises(InputError, match="transfer of 't0' from device 0 to 1 cannot be"):
        Schedule(problem, schedule.tasks, schedule.transfers).transfer_timing(0)


@given(schedule=schedules())
def test_every_task_is_found_by_its_key(schedule: Schedule) -> None:
    for key, row in schedule.row_of.items():
        assert key == (schedule.tasks.operator[row], schedule.tasks.microbatch[row])
    assert sorted(schedule.row_of) == sorted(schedule.problem.tasks())
    assert np.all(schedule.ends >= schedule.tasks.start)
    once = [v for v in schedule.task_views() if v.microbatch == STEP]
    steps = [o for o in schedule.problem.graph.operators if o.repeat == "step"]
    assert len(once) == len(steps)
