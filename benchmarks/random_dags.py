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

from attrs import frozen

from benchmarks.cases import Case, Context, Outcome
from parplan.api import load_registry, plan
from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload, WorkloadKind

DEGREE = 3
"""Most inputs, and most outputs, of a node."""

NEAR = 10
"""A node reads from that part of all nodes, just before its own: larger graphs are wider."""

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
    """

    nodes: int
    speeds: tuple[float, ...]
    transfer: float
    seed: int


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return the paper's experiment for several seeds, and the larger graphs."""
    paper = {f"200-nodes-2-devices-{seed}": Shape(200, (1.0, 1.0), 0.2, seed) for seed in range(5)}
    larger = {
        f"{nodes}-nodes-{devices}-unequal-devices": Shape(
            nodes, tuple(SPEEDS[d % len(SPEEDS)] for d in range(devices)), 0.5, nodes + devices
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
    """Plan a random graph, and compare it with all operators on the fastest device."""
    problem = random_dag(shape)
    registry = load_registry()
    found = plan(problem, registry=registry, time_limit_s=context.time_limit_s)
    alone = one_device(problem)
    return Outcome(
        plan=found,
        registry=registry,
        reference=alone,
        reference_source="all operators on the fastest device",
        details={
            "speed_up": alone / found.value,
            "most_speed_up": None if found.bound is None else alone / found.bound.value,
            "coarsening": found.provenance.get("coarsening"),
        },
    )


def one_device(problem: Problem) -> float:
    """Return the seconds of all operators one after another on the device that is best for that."""
    operators, devices = problem.graph.operators, problem.cluster.devices
    return min(
        sum(operator.modes[0].seconds[device.kind] for operator in operators) for device in devices
    )


def random_dag(shape: Shape) -> Problem:
    """Return the problem of a graph drawn from a seed; whole seconds at speed 1, a link per pair.

    Every node but the first ones reads one to three of the nodes shortly before it that have not
    been read three times yet.
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
