"""Random problems that are small enough to be judged by trying everything, or by any solver."""

from __future__ import annotations

from itertools import permutations
from random import Random

from attrs import frozen

from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload

DEGREE = 3
"""Most tensors that an operator reads or writes."""


@frozen
class Scale:
    """How large the problems are.

    Attributes
    ----------
    operators, devices, microbatches
        The least and the most.
    longest
        Ticks of an operator, and of a transfer, at most; none is a possible time, too.
    """

    operators: tuple[int, int]
    devices: tuple[int, int]
    microbatches: tuple[int, int] = (1, 1)
    longest: int = 4


TINY = Scale((1, 4), (1, 3), (1, 2), 3)
"""Full enumeration takes about a second at most."""


def draw_problem(random: Random, scale: Scale) -> Problem:
    """Return a graph of any shape on unequal devices, with contended links and scarce memory.

    Everything is drawn from ``random`` alone; times are whole ticks. Some problems have no plan.
    """
    graph = _draw_graph(random, scale)
    cluster = _draw_cluster(random, scale)
    microbatches = random.randint(*scale.microbatches)
    if len(graph.operators) > 2:
        microbatches = min(microbatches, max(scale.operators[1] // len(graph.operators), 1))
    return Problem("drawn", graph, cluster, Workload(microbatches=microbatches), tick_s=1.0)


def _draw_graph(random: Random, scale: Scale) -> Graph:
    names = [f"o{n}" for n in range(random.randint(*scale.operators))]
    groups = tuple(ParameterGroup(f"w{n}", random.randint(1, 4)) for n in range(2))
    operators = tuple(
        Operator(
            name,
            parameters=random.choice(((), (), ("w0",), ("w1",), ("w0", "w1"))),
            modes=_draw_modes(random, scale),
        )
        for name in names
    )
    tensors = []
    for n, name in enumerate(names):
        later = names[n + 1 :]
        readers = random.sample(later, random.randint(0, min(DEGREE, len(later))))
        size = random.randint(0, scale.longest)
        if readers or random.random() < 0.5:
            tensors.append(Tensor(f"t{n}", name, tuple(readers), size, output=not readers))
    return Graph("drawn", operators, tuple(tensors), groups)


def _draw_modes(random: Random, scale: Scale) -> tuple[Mode, ...]:
    """Return one mode, or a fast one that needs room to work and a slow one that needs none."""
    seconds = {kind: float(random.randint(0, scale.longest)) for kind in ("a", "b")}
    if random.random() < 0.7:
        return (Mode(seconds=seconds),)
    slow = {kind: value + 1.0 for kind, value in seconds.items()}
    return (
        Mode(name="fast", seconds=seconds, workspace_bytes=random.randint(1, 4)),
        Mode(name="slow", seconds=slow),
    )


def _draw_cluster(random: Random, scale: Scale) -> Cluster:
    names = [f"g{n}" for n in range(random.randint(*scale.devices))]
    memory = [random.choice((None, None, None, 6, 9, 14)) for _ in names]
    kinds = random.choice((("a", "a", "a", "a"), ("a", "b", "a", "b")))
    devices = tuple(
        Device(name, kind, memory_bytes=size, peak_flops={"bf16": 1.0})
        for name, kind, size in zip(names, kinds, memory, strict=False)
    )
    speed, wait = random.choice((1.0, 1.0, 2.0)), random.choice((0.0, 0.0, 1.0))
    if random.random() < 0.3:  # one channel for both directions of each pair
        links = tuple(
            Link(f"{a}-{b}", a, b, speed, wait, shared=True)
            for n, a in enumerate(names)
            for b in names[n + 1 :]
        )
    elif random.random() < 0.3 and len(names) > 1:  # all transfers cross the links of a switch
        links = tuple(
            Link(f"{name}{arrow}", *ends, speed, wait)
            for name in names
            for arrow, ends in ((">", (name, "hub")), ("<", ("hub", name)))
        )
        return Cluster("drawn", devices, links, ("hub",))
    else:
        links = tuple(
            Link(f"{a}>{b}", a, b, random.choice((speed, 1.0)), wait)
            for a, b in permutations(names, 2)
        )
    return Cluster("drawn", devices, links)
