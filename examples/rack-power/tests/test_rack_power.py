from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from parplan_rack_power import RackPower

import parplan
from parplan.declarations import Resource
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.problem import Problem, Rule
from parplan.rules import Rules, make_rules
from parplan.workload import Workload


def problem(options: Mapping[str, object], *, attributes: Mapping[str, float] = {}) -> Problem:
    """Return four independent operators of 1 s on two devices, under a rack limit."""
    return Problem(
        name="two devices",
        graph=Graph("four", tuple(Operator(n, modes=(Mode(seconds={"*": 1.0}),)) for n in "abcd")),
        cluster=Cluster(
            "pair", tuple(Device(n, "gpu", attributes=attributes) for n in ("g0", "g1"))
        ),
        workload=Workload(),
        constraints=(Rule("devices"), Rule("rack-power", options)),
        tick_s=1.0,
    )


def rules(options: Mapping[str, object], **figures: Mapping[str, float]) -> Rules:
    return make_rules(problem(options, **figures), parplan.load_registry())


def rack(options: Mapping[str, object], **figures: Mapping[str, float]) -> Resource:
    (found,) = [r for rule, r in rules(options, **figures).resources if rule == "rack-power"]
    return found


def racks(limit: float) -> dict[str, object]:
    return {"left": {"devices": ["g0", "g1"], "limit_watts": limit}}


def test_it_is_installed_under_its_distribution() -> None:
    found = parplan.load_registry().constraints["rack-power"]
    assert found.value is RackPower
    assert found.distribution == "parplan-rack-power"


def test_running_power_counts_on_top_of_idle_power() -> None:
    found = rack({"racks": racks(1000), "watts": {"gpu": 700}, "idle_watts": {"gpu": 100}})
    assert found.capacity == 800
    assert [(d.device, d.amount) for d in found.demands] == [("g0", 600), ("g1", 600)]


def test_attributes_of_a_device_come_before_its_kind() -> None:
    options = {"racks": racks(1000), "watts": {"gpu": 700}}
    found = rack(options, attributes={"watts": 400})
    assert [d.amount for d in found.demands] == [400, 400]


def test_unknown_power_is_an_error_that_names_device_and_rule() -> None:
    with pytest.raises(InputError, match=r"rack-power: no power is known.*'g0'"):
        rules({"racks": racks(1000)})


@pytest.mark.parametrize("watts", [-700.0, math.nan, math.inf])
def test_power_that_cannot_be_is_an_error(watts: float) -> None:
    with pytest.raises(InputError, match=r"rack-power: device 'g0': watts is"):
        rules({"racks": racks(1000)}, attributes={"watts": watts})


def test_limit_in_kilowatts_is_noticed() -> None:
    with pytest.raises(InputError, match=r"rack 'left' may draw 1 W, too little.*in watts"):
        rules({"racks": racks(1.0), "watts": {"gpu": 700}})


def test_idle_above_running_is_noticed() -> None:
    with pytest.raises(InputError, match="700 W when it runs and 70000 W when it is idle"):
        rules({"racks": racks(1e6), "watts": {"gpu": 700}, "idle_watts": {"gpu": 70000}})


def test_unknown_device_is_an_error() -> None:
    options = {"racks": {"left": {"devices": ["g7"], "limit_watts": 1}}, "watts": {"gpu": 1}}
    with pytest.raises(InputError, match="rack 'left' names unknown device 'g7'"):
        rules(options)


def test_misspelt_option_is_an_error() -> None:
    with pytest.raises(InputError, match="watt"):
        rules({"racks": racks(1000), "watt": {"gpu": 700}})


SPEC = Path(__file__).parents[1] / "specs" / "rack-power.yaml"


def most_watts(plan: parplan.Plan) -> float:
    """Return the most power that the devices draw together; it rises only where a task starts."""
    devices = {device.name: device.attributes for device in plan.problem.cluster.devices}
    tasks = list(plan.schedule.task_views())
    idle = sum(figures["idle_watts"] for figures in devices.values())
    return idle + max(
        sum(
            devices[device]["watts"] - devices[device]["idle_watts"]
            for task in tasks
            if task.start <= instant < task.end
            for device in task.devices
        )
        for instant in (task.start for task in tasks)
    )


@pytest.mark.parametrize("solver", ["list", "highs", "cp-sat"])
def test_plan_stays_below_the_limit(solver: str) -> None:
    plan = parplan.plan(SPEC, solver=solver, time_limit_s=20)
    assert most_watts(plan) == 800
    assert plan.value == pytest.approx(0.018)
    assert parplan.check(plan) == ()


@pytest.mark.parametrize("solver", ["highs", "cp-sat"])
def test_higher_limit_gives_a_faster_plan(solver: str) -> None:
    override = "constraints[0].rack-power.racks.left.limit_watts=1400"
    plan = parplan.plan(SPEC, overrides=[override], solver=solver, time_limit_s=20)
    assert most_watts(plan) == 1400
    assert plan.value < 0.018


@pytest.mark.parametrize("solver", ["highs", "cp-sat"])
def test_solvers_prove_the_same_optimum(solver: str) -> None:
    # The limit lets one fast device run beside the slow one, or none: 5 + 5 takes 10 s, while the
    # rest runs on the slow device.
    seconds = (5.0, 5.0, 1.0, 1.0)
    modes = [Mode(seconds={"fast": s, "slow": 2 * s}) for s in seconds]
    options = {
        "racks": {"only": {"devices": ["g0", "g1", "g2"], "limit_watts": 1000}},
        "watts": {"fast": 700, "slow": 300},
    }
    unequal = Problem(
        name="three devices",
        graph=Graph("four", tuple(Operator(f"o{i}", modes=(m,)) for i, m in enumerate(modes))),
        cluster=Cluster(
            "three", (Device("g0", "fast"), Device("g1", "fast"), Device("g2", "slow"))
        ),
        workload=Workload(),
        constraints=(Rule("devices"), Rule("rack-power", options)),
        tick_s=1.0,
    )
    plan = parplan.plan(unequal, solver=solver, time_limit_s=20)
    assert plan.value == 10.0
    assert plan.gap == 0.0


def test_check_refuses_a_plan_that_draws_too_much() -> None:
    free = parplan.plan(SPEC, overrides=["constraints=[]"], time_limit_s=20)
    registry = parplan.load_registry()
    limited = parplan.assemble_problem(parplan.load_spec(SPEC), registry)
    schedule = parplan.Schedule(limited, free.schedule.tasks, free.schedule.transfers)
    violations = parplan.check_schedule(schedule, make_rules(limited, registry))
    assert {violation.rule for violation in violations} == {"rack-power"}
    assert max(violation.amount or 0 for violation in violations) == 400
