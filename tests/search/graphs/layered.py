"""Layered graphs on two unequal nodes with a link between them."""

from __future__ import annotations

import random

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload, WorkloadKind


def layered_problem(layers: int, width: int, seed: int, per_node: int = 2) -> Problem:
    """Return a graph in which each operator reads one or two tensors of the layer before."""
    chance = random.Random(seed)
    operators, readers = [], [list[str]() for _ in range(layers * width)]
    for i in range(layers * width):
        fast = chance.uniform(50e-6, 500e-6)
        seconds = {"fast": fast, "slow": 2 * fast}
        operators.append(Operator(f"o{i}", modes=(Mode(seconds=seconds),)))
        if i >= width:
            before = range((i // width - 1) * width, i // width * width)
            for producer in chance.sample(before, chance.randint(1, 2)):
                readers[producer].append(f"o{i}")
    tensors = tuple(
        Tensor(f"t{i}", f"o{i}", tuple(row), chance.randrange(1_000_000, 20_000_000))
        for i, row in enumerate(readers)
        if row
    )
    devices, links = [], []
    for node, kind in enumerate(("fast", "slow")):
        for i in range(per_node):
            devices.append(Device(f"{kind}{i}", kind, memory_bytes=80 * 10**9))
            links.append(Link(f"{kind}{i} out", f"{kind}{i}", f"switch{node}", 450e9, 3e-6))
            links.append(Link(f"{kind}{i} in", f"switch{node}", f"{kind}{i}", 450e9, 3e-6))
    links.append(Link("there", "switch0", "switch1", 50e9, 5e-6))
    links.append(Link("back", "switch1", "switch0", 50e9, 5e-6))
    cluster = Cluster("two", tuple(devices), tuple(links), switches=("switch0", "switch1"))
    graph = Graph("layered", tuple(operators), tensors)
    return Problem("layered", graph, cluster, Workload(WorkloadKind.INFERENCE))
