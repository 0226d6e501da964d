from __future__ import annotations

import pytest
from parplan_parity import Parity

from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload


def schedule(*devices: int) -> Schedule:
    """Return a schedule of operators of 1 s, 2 s, ... on these devices, one after the other."""
    operators = tuple(
        Operator(f"o{i}", modes=(Mode(seconds={"*": i + 1.0}),)) for i in range(len(devices))
    )
    problem = Problem(
        "pair",
        Graph("chain", operators),
        Cluster("pair", (Device("g0"), Device("g1"))),
        Workload(),
        tick_s=0.5,
    )
    rows = range(len(devices))
    starts = [2 * sum(range(1, i + 1)) for i in rows]
    tasks = Tasks(rows, [0] * len(devices), devices, starts)
    return Schedule(problem, tasks, Transfers([], [], [], [], []))


def test_it_is_installed_under_its_distribution() -> None:
    found = load_registry().objectives["parity"]
    assert found.value is Parity
    assert found.distribution == "parplan-parity-objective"


@pytest.mark.parametrize(
    ("devices", "seconds"), [((0, 0, 0), 6.0), ((0, 1, 0), 2.0), ((0, 0, 1), 0.0)]
)
def test_value_is_the_difference_in_seconds(devices: tuple[int, ...], seconds: float) -> None:
    assert Parity().value(schedule(*devices)) == seconds


def test_bound_is_below_every_value() -> None:
    found = schedule(0, 1, 0)
    assert Parity().bound(found.problem) <= Parity().value(found)
