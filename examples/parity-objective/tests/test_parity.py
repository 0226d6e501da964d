from __future__ import annotations

from pathlib import Path

import pytest
from parplan_parity import Parity

import parplan
from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
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
    found = parplan.load_registry().objectives["parity"]
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


SPEC = Path(__file__).parents[1] / "specs" / "parity.yaml"


@pytest.mark.parametrize("solver", ["highs", "cp-sat"])
@pytest.mark.parametrize("objectives", ["[parity]", "[makespan, parity]"])
def test_solver_finds_the_even_split(solver: str, objectives: str) -> None:
    override = f"objectives={objectives}"
    plan = parplan.plan(SPEC, overrides=[override], solver=solver, time_limit_s=20)
    assert plan.objectives["parity"] == 0
    assert plan.gap == 0


def test_fastest_plans_are_compared_by_parity() -> None:
    plan = parplan.plan(SPEC)
    assert plan.objectives == {"makespan": pytest.approx(0.006), "parity": 0}
