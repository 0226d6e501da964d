"""Memory bounds: the known figures of tight pipelines, and never above the optimum."""

from __future__ import annotations

import random

import pytest
from ortools.sat.python import cp_model

from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import bounds_for_assignment, combinatorial_bounds
from parplan.workload import Workload
from tests.search.pipelines import drawn_times, even_pipeline

REGISTRY = load_registry(installed=False)


def one_stage_per_device(
    times: list[tuple[float, float, float]],
    microbatches: int,
    saved: int,
    *,
    mirrored: bool = False,
    delay: float = 0.0,
    release: str = "W",
    tick_s: float = 0.1,
) -> Problem:
    """F, B and W of each stage with the seconds given; ``saved`` activations fit on a device.

    Mirrored: a second chain runs the other way, half of the microbatches each. ``release``: saved
    activations end with W, with B, or half with each.
    """
    stages, operators, tensors = len(times), [], []
    chains = 2 if mirrored else 1
    for c in range(chains):
        for s in range(stages):
            device = s if c == 0 else stages - 1 - s
            for kind, name, seconds in zip(Kind, "FBW", times[s], strict=False):
                mode = Mode(seconds={"*": seconds}, groups=((f"d{device}",),))
                operators.append(Operator(f"{name}{c}.{s}", kind, modes=(mode,)))
            to_b, to_w = {"W": (0, 2), "B": (2, 0), "half": (1, 1)}[release]
            tensors += [
                Tensor(f"b{c}.{s}", f"F{c}.{s}", (f"B{c}.{s}",), to_b),
                Tensor(f"w{c}.{s}", f"F{c}.{s}", (f"W{c}.{s}",), to_w),
                Tensor(f"g{c}.{s}", f"B{c}.{s}", (f"W{c}.{s}",)),
            ]
            if s + 1 < stages:
                tensors.append(Tensor(f"out{c}.{s}", f"F{c}.{s}", (f"F{c}.{s + 1}",)))
                tensors.append(Tensor(f"back{c}.{s}", f"B{c}.{s + 1}", (f"B{c}.{s}",)))
    links = tuple(
        Link(f"{i}-{j}", f"d{i}", f"d{j}", bandwidth=1.0, latency_s=delay)
        for i in range(stages)
        for j in range(stages)
        if i != j
    )
    devices = tuple(Device(f"d{i}", memory_bytes=2 * saved) for i in range(stages))
    return Problem(
        "pipeline",
        Graph("pipeline", tuple(operators), tuple(tensors)),
        Cluster("mesh", devices, links),
        Workload(microbatches=microbatches // chains),
        tick_s=tick_s,
    )


def bounds_of(problem: Problem) -> dict[str, float]:
    found = combinatorial_bounds(problem, make_rules(problem, REGISTRY))
    return {bound.source: bound.value for bound in found}


UNIT = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("saved", "delay", "value"), [(7, 0.0, 64), (6, 0.0, 65), (5, 0.0, 66), (9, 1.0, 72)]
)
def test_warm_up_bound_of_mirrored_pipelines(saved: int, delay: float, value: float) -> None:
    # At 7 saved activations 64 is optimal.
    found = bounds_of(one_stage_per_device([UNIT] * 8, 20, saved, mirrored=True, delay=delay))
    assert found["warm-up memory"] == pytest.approx(value)


def test_an_assignment_of_both_directions_gives_what_pinned_chains_give() -> None:
    problem = even_pipeline(8, 8, 20, memory=9, delay=1.0, groups=(0, 1) * 10)
    assignment = {
        (o, group): alternative
        for o, operator in enumerate(problem.graph.operators)
        for alternative, choice in enumerate(problem.alternatives[o])
        for group in (0, 1)
        if choice.devices[0] == (stage := int(operator.name[1:])) + group * (7 - 2 * stage)
    }
    found = bounds_for_assignment(problem, make_rules(problem, REGISTRY), assignment)
    assert {b.source: b.value for b in found}["warm-up memory"] == pytest.approx(72)


def test_slots_are_begun_and_ended_one_after_the_other() -> None:
    # 24 holds of 31 s in 8 slots are 93 s; the slots' ends are 0 to 7 s apart, twice: 7 s more.
    found = bounds_of(one_stage_per_device([UNIT] * 8, 24, 8, delay=1.0))
    assert found["slots of memory"] == pytest.approx(93.0)
    assert found["staggered slots"] == pytest.approx(100.0)


def test_less_memory_never_lowers_the_bound() -> None:
    values = [
        max(bounds_of(one_stage_per_device([UNIT] * 4, 12, saved, delay=0.5)).values())
        for saved in range(12, 0, -1)
    ]
    assert values == sorted(values)
    assert values[-1] > values[0]


def optimum(problem: Problem) -> int:
    """Return the least makespan in ticks by CP-SAT, tasks and holds written out by hand."""
    graph, model = problem.graph, cp_model.CpModel()
    horizon = 10_000
    makespan = model.new_int_var(0, horizon, "makespan")
    starts, ends, on = {}, {}, {}
    for o, k in problem.tasks():
        (choice,) = problem.alternatives[o]
        ticks = problem.ticks(o, choice, k)
        starts[o, k] = model.new_int_var(0, horizon, "")
        ends[o, k] = starts[o, k] + ticks
        model.add(makespan >= ends[o, k])
        interval = model.new_fixed_size_interval_var(starts[o, k], ticks, "")
        on.setdefault(choice.devices[0], []).append(interval)
    for intervals in on.values():
        model.add_no_overlap(intervals)
    held: dict[int, list[tuple[cp_model.IntervalVar, int]]] = {}
    for t, readers in enumerate(graph.consumers):
        producer = graph.producers[t]
        source = problem.alternatives[producer][0].devices[0]
        for k in range(problem.workload.microbatches):
            for reader in readers:
                target = problem.alternatives[reader][0].devices[0]
                delay = 0
                if target != source:
                    timing = problem.transfer_timing(graph.tensors[t].bytes, source, target)
                    assert timing is not None
                    delay = timing.arrival
                model.add(starts[reader, k] >= ends[producer, k] + delay)
            if graph.tensors[t].bytes:
                length, end = model.new_int_var(0, horizon, ""), ends[readers[0], k]
                interval = model.new_interval_var(starts[producer, k], length, end, "")
                held.setdefault(source, []).append((interval, graph.tensors[t].bytes))
    for device, pairs in held.items():
        capacity = problem.cluster.devices[device].memory_bytes
        assert capacity is not None
        model.add_cumulative([i for i, _ in pairs], [b for _, b in pairs], capacity)
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return round(solver.objective_value)


@pytest.mark.parametrize("seed", range(24))
def test_no_bound_is_above_the_optimum_of_small_pipelines(seed: int) -> None:
    rng = random.Random(seed)
    mirrored = rng.random() < 0.5
    microbatches = rng.choice([2, 4]) if mirrored else rng.randint(1, 4)
    times = drawn_times(rng, rng.randint(1, 3))
    problem = one_stage_per_device(
        times,
        microbatches,
        rng.randint(1, 3),
        mirrored=mirrored,
        delay=float(rng.randint(0, 3)),
        release=rng.choice(["W", "B", "half"]),
        tick_s=1.0,
    )
    found = bounds_of(problem)
    assert max(found.values()) <= optimum(problem), found
