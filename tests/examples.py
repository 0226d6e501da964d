"""Small problems by hand, for tests that need a known answer."""

from __future__ import annotations

from itertools import pairwise

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload


def chain(
    operators: int,
    *,
    devices: int = 1,
    microbatches: int = 1,
    seconds: float = 1.0,
    size: int = 1,
) -> Problem:
    """Operators o0 -> o1 -> ... on equal devices g0, g1, ..., each pair joined both ways.

    Links carry 1 byte per second; operator i makes tensor t<i> of ``size`` bytes.
    """
    names = [f"o{i}" for i in range(operators)]
    tensors = tuple(Tensor(f"t{i}", a, (b,), size) for i, (a, b) in enumerate(pairwise(names)))
    mode = Mode(seconds={"*": seconds})
    spots = [f"g{i}" for i in range(devices)]
    return Problem(
        "chain",
        Graph("chain", tuple(Operator(name, modes=(mode,)) for name in names), tensors),
        Cluster(
            "equal",
            tuple(Device(spot, peak_flops={"bf16": 1.0}) for spot in spots),
            tuple(Link(f"{a}>{b}", a, b, 1.0) for a in spots for b in spots if a != b),
        ),
        Workload(microbatches=microbatches),
        tick_s=1.0,
    )


def line(stages: int, operators: int, microbatches: int) -> Problem:
    """A chain over as many devices as stages, with memory to watch, for checks at size."""
    problem = chain(stages * operators, devices=stages, microbatches=microbatches)
    cluster = problem.cluster
    big = tuple(
        Device(d.name, memory_bytes=10**12, peak_flops=d.peak_flops) for d in cluster.devices
    )
    return Problem(
        "line",
        problem.graph,
        Cluster(cluster.name, big, cluster.links),
        problem.workload,
        tick_s=1.0,
    )
