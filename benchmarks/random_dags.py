"""Random graphs without cycles: the paper's experiment, and larger ones on unequal devices.

R. She et al. (arXiv 2503.09357) plan one graph of 200 nodes with at most three inputs and outputs
each, coarsened to 40, on two machines, and report half the time of one machine. The larger graphs
have costs of transfers near those of their operators, and devices of different speeds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
import numpy as np
from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import load_registry, plan
from parplan.errors import InputError
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.task_graphs import dag_of_units
from parplan.search.graphs.from_problem import make_task_graph
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.task_graph import TaskGraph
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.workload import Workload, WorkloadKind

DEGREE = 3
"""Most inputs, and most outputs, of a node."""

NEAR = 10
"""One in so many of all nodes may feed a node, those just before it: larger graphs are wider."""

SPEEDS = (1.0, 2.0, 0.5, 1.5)
"""Speeds of devices, in turn, where they are unequal."""


@frozen
class Shape:
    """What a random graph and its cluster are drawn by.

    Attributes
    ----------
    speeds
        Of each device: an operator of work w takes w / speed seconds.
    transfer
        Mean time of a transfer over mean time of an operator at speed 1.
    parts
        Of the coarse graph.
    """

    nodes: int
    speeds: tuple[float, ...]
    transfer: float
    parts: int
    seed: int


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the paper's experiment for several seeds, and the larger graphs."""
    paper = {
        f"200-nodes-2-devices-{seed}": Shape(200, (1.0, 1.0), 0.2, 40, seed) for seed in range(5)
    }
    larger = {
        f"{nodes}-nodes-{devices}-unequal-devices": Shape(
            nodes,
            tuple(SPEEDS[d % len(SPEEDS)] for d in range(devices)),
            transfer=0.5,
            parts=20 * devices,
            seed=nodes + devices,
        )
        for nodes in (1_000, 10_000)
        for devices in (2, 4, 8, 16)
    }
    return tuple(
        Case(
            f"random-dag/{name}",
            partial(random_dag_case, shape),
            time_limit_s=30.0 if shape.nodes <= 1_000 else 60.0,
            short=name == "200-nodes-2-devices-0",
        )
        for name, shape in {**paper, **larger}.items()
    )


def random_dag_case(shape: Shape, context: Context) -> Outcome:
    """Plan a random graph; compare it with one device, HEFT, and a plan of the coarse graph.

    The coarse graph is planned in half the time, by a solver where it is small enough: what the
    paper does, whose parts are never taken apart again.
    """
    problem = random_dag(shape)
    registry = load_registry()
    alone = one_device(problem)
    task_graph = task_graph_of(problem, registry)
    coarse = coarse_problem(problem, task_graph, shape.parts)
    coarse_only = plan(coarse, registry=registry, time_limit_s=context.time_limit_s / 2)
    found = plan(problem, registry=registry, time_limit_s=context.time_limit_s)
    heft = heft_seconds(problem, task_graph)
    seconds = {"plan": found.value, "heft": heft, "coarse_only": coarse_only.value}
    if found.bound is not None:
        seconds["bound"] = found.bound.value
    return Outcome(
        plan=found,
        registry=registry,
        reference=alone,
        reference_source="all operators on the fastest device",
        details={
            "seconds": seconds,
            "speed_up": {name: alone / value for name, value in seconds.items()},
            "coarse_parts": len(coarse.graph.operators),
            "coarse_status": coarse_only.status,
            "coarsening": found.provenance.get("coarsening"),
        },
    )


def task_graph_of(problem: Problem, registry: Registry) -> TaskGraph:
    """Return the task graph of a problem."""
    rules = make_rules(problem, registry)
    return make_task_graph(Placer(problem, rules, find_blocks(problem, rules)))


def heft_seconds(problem: Problem, graph: TaskGraph) -> float:
    """Return the makespan of HEFT, with transfers that queue for their links."""
    lists = ListSchedules(graph)
    placed = lists.in_order(lists.order(-upward_ranks(graph)))
    if placed is None:
        raise InputError("HEFT found no place for some operator")
    return placed.makespan * problem.tick_s


def coarse_problem(problem: Problem, graph: TaskGraph, parts: int) -> Problem:
    """Return the problem with its operators merged to so many, each of which runs in one go."""
    coarsened = BalancedMerge(parts).apply(dag_of_units(graph))
    # Units are numbered as the operators are in topological order: none has a module.
    unit = np.argsort(problem.graph.topological_order)
    part_of = coarsened.part_of[unit]
    names = [f"part {part}" for part in range(len(coarsened.coarse))]
    kinds = sorted({device.kind for device in problem.cluster.devices})
    seconds = {kind: np.zeros(len(names)) for kind in kinds}
    for operator, part in zip(problem.graph.operators, part_of, strict=True):
        for kind in kinds:
            seconds[kind][part] += operator.modes[0].seconds[kind]
    operators = tuple(
        Operator(name, modes=(Mode(seconds={k: float(seconds[k][part]) for k in kinds}),))
        for part, name in enumerate(names)
    )
    tensors = []
    for tensor, producer, readers in zip(
        problem.graph.tensors, problem.graph.producers, problem.graph.consumers, strict=True
    ):
        made = part_of[producer]
        read = tuple(names[part] for part in dict.fromkeys(part_of[list(readers)]) if part != made)
        if read:
            tensors.append(Tensor(tensor.name, names[made], read, tensor.bytes))
    merged = Graph("coarse", operators, tuple(tensors))
    return attrs.evolve(problem, name=f"{problem.name}-coarse", graph=merged)


def one_device(problem: Problem) -> float:
    """Return the seconds of all operators one after another on the device that is best for that."""
    operators, devices = problem.graph.operators, problem.cluster.devices
    return min(
        sum(operator.modes[0].seconds[device.kind] for operator in operators) for device in devices
    )


def random_dag(shape: Shape) -> Problem:
    """Return the problem of a graph drawn from a seed; whole seconds at speed 1, a link per pair.

    Every node but the first reads one to three of the nodes shortly before it that have not been
    read three times yet.
    """
    random_ = random.Random(shape.seed)
    readers: list[list[int]] = [[] for _ in range(shape.nodes)]
    for node in range(1, shape.nodes):
        near = range(max(0, node - shape.nodes // NEAR), node)
        before = [i for i in near if len(readers[i]) < DEGREE]
        for i in random_.sample(before, min(len(before), random_.randint(1, DEGREE))):
            readers[i].append(node)
    kinds = tuple(f"speed {speed:g}" for speed in shape.speeds)
    operators = []
    for node in range(shape.nodes):
        work = float(random_.randint(1, 20))
        seconds = {k: work / s for k, s in zip(kinds, shape.speeds, strict=True)}
        operators.append(Operator(f"op {node}", modes=(Mode(seconds=seconds),)))
    tensors = tuple(
        Tensor(f"data {node}", f"op {node}", tuple(f"op {r}" for r in own), random_.randint(1, 20))
        for node, own in enumerate(readers)
        if own
    )
    return Problem(
        f"random-dag-{shape.nodes}-{len(shape.speeds)}-{shape.seed}",
        Graph("random", tuple(operators), tensors),
        _cluster(kinds, 1.0 / shape.transfer),
        Workload(WorkloadKind.INFERENCE),
        tick_s=1 / 60,  # every duration is a whole number of these
    )


def _cluster(kinds: Sequence[str], bandwidth: float) -> Cluster:
    """Return devices of these kinds, each joined to each other one by a link of its own."""
    names = [f"d{i}" for i in range(len(kinds))]
    links = tuple(Link(f"{a}-{b}", a, b, bandwidth) for a in names for b in names if a != b)
    devices = tuple(Device(name, kind=kind) for name, kind in zip(names, kinds, strict=True))
    return Cluster("all joined", devices, links)
