"""Small plans of stages: graphs of layers on given devices, dispatched in any order."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from parplan.differentiation import Layer, Update, Work, inference_graph, training_graph
from parplan.graph import Graph, ParameterGroup
from parplan.hardware import Cluster, Device, Link
from parplan.plans import Plan
from parplan.problem import Alternative, Problem
from parplan.schedule import Schedule, Tasks, Transfers
from parplan.workload import Workload

Reads = Mapping[str, Sequence[str]]
"""The layers that each layer reads from, in a topological order; one result each."""

DIAMOND: Reads = {
    "source": (),
    "left": ("source",),
    "right": ("source",),
    "join": ("left", "right"),
}


def layered(reads: Reads, *, training: bool = True, split: bool = True) -> Graph:
    """Layers with passes of 2, 2 and 1 seconds, results of 4 bytes and weights of 8, updated."""

    def work(seconds: float, *saved: str) -> Work:
        return Work(saved=saved, seconds={"*": seconds})

    layers = []
    for name, before in reads.items():
        inputs = tuple(f"{layer}.out" for layer in before)
        layers.append(
            Layer(
                name, name, inputs, {f"{name}.out": 4}, work(2.0), work(2.0, *inputs),
                work(1.0, *inputs), (name,),
            )
        )  # fmt: skip
    groups = [ParameterGroup(name, 8) for name in reads]
    if not training:
        return inference_graph("layered", layers, groups)
    updates = [Update(name, (name,), work(0.5)) for name in reads]
    return training_graph("layered", layers, groups, updates, split=lambda _: split)


def layered_problem(graph: Graph, devices: int, microbatches: int) -> Problem:
    """A problem with wide links of one second, so that any order in time is a schedule."""
    spots = [f"g{i}" for i in range(devices)]
    links = tuple(
        Link(f"{a}>{b}", a, b, float("inf"), latency_s=1.0, capacity=None)
        for a in spots
        for b in spots
        if a != b
    )
    cluster = Cluster("wide", tuple(Device(spot) for spot in spots), links)
    return Problem("layered", graph, cluster, Workload(microbatches=microbatches), tick_s=0.5)


def dispatched(problem: Problem, device_of: Mapping[str, int], seed: int = 0) -> Plan:
    """A plan that runs what is ready as early as its device can, in a random order.

    ``device_of`` names a device for each module. Gradients of weights come after those of inputs.
    """
    chance = random.Random(seed)
    graph = problem.graph
    place = [device_of[operator.module] for operator in graph.operators]
    row_of = [
        rows.index(Alternative(0, (device,)))
        for rows, device in zip(problem.alternatives, place, strict=True)
    ]
    left = list(problem.tasks())
    ends: dict[tuple[int, int], int] = {}
    sent: dict[tuple[int, int, int], tuple[int, int]] = {}
    free = [0] * len(problem.cluster.devices)
    tasks = []
    while left:
        ready = [task for task in left if all(made in ends for made in _inputs(problem, *task))]
        o, k = chance.choice(ready)
        left.remove((o, k))
        start = max(free[place[o]], problem.release(k))
        for t in graph.inputs[o]:
            for m in problem.read_microbatches(t, k):
                maker = graph.producers[t]
                if place[maker] == place[o]:
                    start = max(start, ends[maker, m])
                else:
                    sent[t, m, place[o]] = (place[maker], ends[maker, m])
                    start = max(start, ends[maker, m] + 2)
        tasks.append((o, k, row_of[o], start))
        ends[o, k] = start + problem.ticks(o, problem.alternatives[o][row_of[o]], k)
        free[place[o]] = ends[o, k]
    moves = [(t, m, source, target, at) for (t, m, target), (source, at) in sent.items()]
    schedule = Schedule(
        problem,
        Tasks(*zip(*tasks, strict=True)),
        Transfers(*(zip(*moves, strict=True) if moves else ((),) * 5)),
    )
    return Plan(problem, schedule, {"makespan": schedule.makespan * problem.tick_s})


def _inputs(problem: Problem, o: int, k: int) -> list[tuple[int, int]]:
    graph = problem.graph
    partner = graph.operator_index.get(
        graph.operators[o].name.replace(":backward-weight", ":backward-input"), o
    )
    before = [(partner, k)] if partner != o else []
    return before + [
        (graph.producers[t], m) for t in graph.inputs[o] for m in problem.read_microbatches(t, k)
    ]
