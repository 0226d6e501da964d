"""Offloading: its modes and operators, what its copies cost, and where they are worth it."""

from __future__ import annotations

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.errors import InputError, LimitError
from parplan.figures.usage import summary
from parplan.graph import Mode
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.plugins.strategies.offload import Offload
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.orchestrator import search
from tests.examples import block, offloading, placed, recomputing, ruled, with_host

LAYER = "layers.0"
AWAY = {
    f"{LAYER}:forward": ("offload", "g0"),
    f"{LAYER}:forward:park": ("offload", "host"),
    f"{LAYER}:forward:fetch": ("offload", "host"),
    f"{LAYER}:backward": ("offload", "g0"),
}


def reads(problem: Problem, operator: str) -> dict[str, list[str]]:
    """What each mode of an operator reads, by the names of modes."""
    graph = problem.graph
    o = graph.operator_index[operator]
    return {
        mode.name: [graph.tensors[t].name for t in graph.reads(o, m)]
        for m, mode in enumerate(graph.operators[o].modes)
    }


def writes(problem: Problem, operator: str) -> dict[str, dict[str, int]]:
    """What each mode of an operator writes, by the names of modes."""
    graph = problem.graph
    o = graph.operator_index[operator]
    return {
        mode.name: {graph.tensors[t].name: size for t, size in graph.writes(o, m).items()}
        for m, mode in enumerate(graph.operators[o].modes)
    }


def planned(problem: Problem, registry: Registry, solver: str = "cp-sat") -> Plan:
    """The plan of a problem, which may not be rejected by the checker."""
    # A solver ends when it has proven its plan; list schedules are there at once.
    seconds = 4.0 if solver == "list" else 60.0
    options = SearchOptions(solver=solver, time_limit_s=seconds, workers=1)
    rules = make_rules(problem, registry)
    plan = search(problem, rules, registry, options)
    assert plan.provenance["rejected"] == []
    assert plan.provenance["failures"] == []
    return plan


def modes_of(schedule: Schedule) -> dict[str, str]:
    """The mode of each operator, in the schedule's first microbatch."""
    operators = schedule.problem.graph.operators
    found: dict[str, str] = {}
    for row, o in enumerate(schedule.tasks.operator.tolist()):
        mode = operators[o].modes[schedule.alternative(row).mode].name
        found.setdefault(operators[o].name, mode)
    return found


def test_tensors_leave_are_parked_and_come_back() -> None:
    problem = offloading(with_host(block(3)))
    assert writes(problem, f"{LAYER}:forward") == {
        "keep": {"layers.0.saved": 4, "layers.0:forward>": 1},
        "offload": {"layers.0:forward>": 1, "layers.0.saved leaving": 4},
    }
    assert reads(problem, f"{LAYER}:forward:park") == {
        "keep": [],
        "offload": ["layers.0.saved leaving"],
    }
    assert writes(problem, f"{LAYER}:forward:park")["offload"] == {"layers.0.saved parked": 4}
    assert reads(problem, f"{LAYER}:forward:fetch") == {
        "keep": [],
        "offload": ["layers.0.saved parked", "layers.0:forward:fetch now"],
    }
    assert reads(problem, f"{LAYER}:backward") == {
        "keep": ["layers.0.saved", "layers.1:backward>"],
        "offload": ["layers.0.saved fetched", "layers.1:backward>"],
    }
    index = problem.graph.tensor_index["layers.0:forward:fetch now"]
    assert problem.graph.tensors[index].producer == "layers.2:backward"


def test_what_is_needed_soon_stays() -> None:
    ahead_of = {
        ahead: {o.name for o in offloading(with_host(block(3)), ahead).graph.operators}
        for ahead in (1, 2)
    }
    assert {n for n in ahead_of[1] if n.endswith(":park")} == {
        "layers.0:forward:park",
        "layers.1:forward:park",
    }
    assert {n for n in ahead_of[2] if n.endswith(":park")} == {"layers.0:forward:park"}
    with pytest.raises(InputError, match="3 backward operators or more"):
        offloading(with_host(block(3)), 3)


def test_a_cluster_without_a_host_is_told() -> None:
    with pytest.raises(InputError, match="no device can be the host"):
        offloading(block(3))
    with pytest.raises(InputError, match="no device matches 'cpu'"):
        Offload(hosts=("cpu",)).apply(block(3).graph, {"cluster": block(3).cluster})
    with pytest.raises(InputError, match="ahead is 0"):
        Offload(ahead=0)


def test_modes_on_groups_keep_and_recomputation_stays_a_choice() -> None:
    graph = block(3).graph
    both = (Mode(seconds={"*": 1.0}), Mode("tensor-2", devices=2, seconds={"*": 0.5}))
    sharded = attrs.evolve(
        graph, operators=tuple(attrs.evolve(o, modes=both) for o in graph.operators)
    )
    problem = attrs.evolve(with_host(block(3)), graph=sharded)
    assert list(reads(offloading(problem), f"{LAYER}:backward")) == ["keep", "offload", "tensor-2"]
    either = offloading(recomputing(with_host(block(3))))
    assert list(writes(either, f"{LAYER}:forward")) == ["keep", "offload", "recompute"]
    assert list(reads(either, f"{LAYER}:backward")) == ["keep", "offload", "recompute"]


def test_copies_take_the_time_of_their_links_and_room_on_the_host(registry: Registry) -> None:
    problem = offloading(with_host(block(3), memory=4, bandwidth=2.0))
    schedule = placed(problem, **AWAY)
    assert check_schedule(schedule, make_rules(problem, registry)) == ()
    timing = {
        problem.graph.tensors[tensor].name: problem.transfer_timing(
            problem.graph.tensors[tensor].bytes, source, target
        )
        for tensor, source, target in zip(
            schedule.transfers.tensor.tolist(),
            schedule.transfers.source.tolist(),
            schedule.transfers.target.tolist(),
            strict=True,
        )
    }
    assert {name: t and t.occupied for name, t in timing.items()} == {
        "layers.0.saved leaving": 2,
        "layers.0:forward:fetch now": 0,
        "layers.0.saved fetched": 2,
    }
    assert {d.name: d.peak_bytes for d in summary(schedule).devices}["host"] == 4
    small = offloading(with_host(block(3), memory=3, bandwidth=2.0))
    found = check_schedule(placed(small, **AWAY), make_rules(small, registry))
    assert {v.rule for v in found} == {"memory"}


def tight(microbatches: int = 1) -> Problem:
    """Four layers on a device that cannot keep what all of them save."""
    problem = block(4, microbatches=microbatches)
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=14)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=(device,)))


def test_a_host_has_no_bubble() -> None:
    schedule = placed(offloading(with_host(block(3))), **AWAY)
    alone = summary(placed(block(3)))
    assert summary(schedule).bubble == 1 - alone.devices[0].busy_s / schedule.makespan
    busy = [d.busy_s for d in summary(schedule).devices]
    assert busy == [9.0, 0.0]


@pytest.mark.parametrize("solver", ["cp-sat", "list"])
def test_what_does_not_fit_otherwise_is_planned_with_offloading(
    solver: str, registry: Registry
) -> None:
    plan = planned(offloading(with_host(tight())), registry, solver)
    # Two layers have the choice and one must use it; its copies run beside the passes.
    assert (plan.value, plan.status) == (12.0, "optimal")
    away = [name for name, mode in modes_of(plan.schedule).items() if mode == "offload"]
    assert any(name.endswith(":fetch") for name in away)


def test_there_is_no_plan_without_room_somewhere(registry: Registry) -> None:
    for problem in (tight(), offloading(with_host(tight(), memory=3))):
        with pytest.raises(LimitError, match="no plan that fits"):
            planned(problem, registry, "list")


@pytest.mark.parametrize(("bandwidth", "better"), [(4.0, "offload"), (0.25, "recompute")])
def test_the_search_takes_what_costs_less(
    bandwidth: float, better: str, registry: Registry
) -> None:
    problem = offloading(recomputing(with_host(tight(2), bandwidth=bandwidth)))
    plan = planned(ruled(problem, "recomputation"), registry, "list")
    assert better in modes_of(plan.schedule).values()
