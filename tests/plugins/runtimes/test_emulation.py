"""An emulated run does what the plan says: all its tasks, messages and memory, in its time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

import parplan
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.plans import Plan
from parplan.plugins.runtimes.emulation.script import Emulation, emulation_of
from parplan.plugins.runtimes.folder import Folder, read_results
from parplan.plugins.runtimes.job import read_job, write_job
from parplan.plugins.runtimes.recordings import recording_of
from parplan.plugins.strategies.dualpipe import DualPipe
from parplan.plugins.strategies.one_forward_one_backward import OneForwardOneBackward
from parplan.plugins.strategies.zero_bubble import ZeroBubbleV
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload
from tests.plugins.runtimes.runs import graph_problem, launch, plan_of
from tests.plugins.strategies.published import simulate

STEPS = 2
SCALE = 2e-3
DIAMOND = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]


def plans(registry: Registry) -> dict[str, Plan]:
    """Plans of a pipeline, of two directions over the same devices, and of a graph."""
    diamond = graph_problem(DIAMOND, {"a": "g0", "b": "g1", "c": "g2", "d": "g0"}, 3)
    return {
        "1f1b": plan_of(simulate(OneForwardOneBackward(), 3, 6, registry)),
        "zb-v": plan_of(simulate(ZeroBubbleV(), 2, 4, registry, 2)),
        "dualpipe": plan_of(simulate(DualPipe(), 4, 8, registry)),
        "diamond": parplan.plan(diamond, registry=registry, time_limit_s=1, workers=1),
    }


@pytest.fixture(scope="module", params=["1f1b", "zb-v", "dualpipe", "diamond"])
def plan(request: pytest.FixtureRequest, registry: Registry) -> Plan:
    return plans(registry)[request.param]


def emulation(plan: Plan, byte: float = 0.0) -> Emulation:
    return emulation_of(plan.schedule, SCALE, byte, STEPS)


def replayed(job: Emulation) -> float:
    """Return the makespan of a run whose processes and messages take no time of their own."""
    free = [0.0] * len(job.devices)
    place = [0] * len(job.devices)
    arrivals: dict[int, float] = {}
    while any(place[rank] < len(tasks) for rank, tasks in enumerate(job.tasks)):
        ready = [
            rank
            for rank, tasks in enumerate(job.tasks)
            if place[rank] < len(tasks)
            and all(number in arrivals for number in tasks[place[rank]].receives)
        ]
        assert ready, "processes wait for each other"
        rank = ready[0]
        task = job.tasks[rank][place[rank]]
        start = max(free[rank], task.release_s, *(arrivals[n] for n in task.receives), 0.0)
        free[rank] = start + task.seconds
        place[rank] += 1
        arrivals |= {n: free[rank] + job.messages[n].seconds for n in task.sends}
    return max(free)


def test_a_run_without_overhead_takes_the_planned_makespan(plan: Plan) -> None:
    planned = plan.schedule.makespan * plan.problem.tick_s * SCALE
    assert replayed(emulation(plan)) == pytest.approx(planned)


def test_every_task_runs_once_and_every_transfer_is_one_message(plan: Plan) -> None:
    job = emulation(plan)
    found = Counter(
        (device, task.operator, task.microbatch)
        for device, tasks in zip(job.devices, job.tasks, strict=True)
        for task in tasks
    )
    views = plan.schedule.task_views()
    assert found == Counter((view.devices[0], view.operator, view.microbatch) for view in views)
    numbers = set(range(len(plan.schedule.transfers)))
    for side in ("sends", "receives"):
        ends = [n for tasks in job.tasks for task in tasks for n in getattr(task, side)]
        assert set(ends) == numbers
        assert len(ends) == len(numbers)
    for rank, tasks in enumerate(job.tasks):
        assert all(job.messages[n].source == rank for task in tasks for n in task.sends)
        assert all(job.messages[n].target == rank for task in tasks for n in task.receives)


def test_what_is_held_is_let_go(plan: Plan) -> None:
    for tasks in emulation(plan, byte=1.0).tasks:
        held: dict[int, int] = {}
        for task in tasks:
            assert not held.keys() & dict(task.takes).keys()
            held.update(task.takes)
            for number in task.drops:
                del held[number]
        assert held == {}


def lone(*operators: Operator, engines: int = 1) -> Problem:
    devices = tuple(Device(f"g{i}", engines={"compute": engines}) for i in range(2))
    graph = Graph("few", operators, ())
    return Problem("few", graph, Cluster("pair", devices, ()), Workload(), tick_s=1.0)


def test_what_a_process_cannot_do_is_named() -> None:
    gang = lone(
        Operator("both", modes=(Mode(devices=2, groups=(("g0", "g1"),), seconds={"*": 1.0}),))
    )
    together = Schedule(gang, Tasks([0], [0], [0], [0]), Transfers([], [], [], [], []))
    with pytest.raises(InputError, match="'both' runs on 2 devices together"):
        emulation_of(together, 1.0, 0.0, 1)
    mode = (Mode(groups=(("g0",),), seconds={"*": 1.0}),)
    crowd = lone(Operator("one", modes=mode), Operator("two", modes=mode), engines=2)
    at_once = Schedule(crowd, Tasks([0, 1], [0, 0], [0, 0], [0, 0]), Transfers([], [], [], [], []))
    with pytest.raises(InputError, match="device 'g0' runs 'one' and 'two' at once"):
        emulation_of(at_once, 1.0, 0.0, 1)


@pytest.mark.slow
def test_processes_take_the_planned_time_and_memory(registry: Registry, tmp_path: Path) -> None:
    """Never less than planned; by how much more depends on the machine, which no test may."""
    plan = plans(registry)["dualpipe"]
    job = emulation(plan, byte=1.0)
    write_job(job, Folder(tmp_path))
    assert read_job(Folder(tmp_path)) == job
    assert launch([tmp_path]) == [0]
    results = read_results(Folder(tmp_path), range(len(job.devices)))
    recording = recording_of("dualpipe", "stand-ins", job.devices, results)
    recording = attrs.evolve(recording, seconds_per_planned_second=SCALE)
    assert recording.steps == tuple(range(STEPS))
    planned = plan.schedule.makespan * plan.problem.tick_s * SCALE
    for step in recording.steps:
        assert recording.step_seconds(step) >= 0.98 * planned
    work = [span for span in recording.spans if span.action != "wait"]
    assert len(work) == STEPS * len(plan.schedule.tasks)
    for device in recording.devices:
        mine = [span for span in recording.spans if span.device == device]
        for before, after in pairwise(mine):
            assert before.end_s <= after.start_s + 1e-9
    assert recording.peak_bytes.keys() == set(job.devices)
    assert min(recording.peak_bytes.values()) > 0
