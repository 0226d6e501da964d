"""Task graphs with delays, drawn, and their shortest makespans by brute force."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.search.enumeration.delay_graph import NEVER, DelayGraph
from parplan.workload import Workload


@st.composite
def delay_problems(draw: st.DrawFn, most_tasks: int = 5, most_devices: int = 3) -> Problem:
    """A few operators on alike or unequal devices, whose links never queue and may be missing."""
    count = draw(st.integers(1, most_tasks))
    devices = draw(st.integers(1, most_devices))
    kinds = draw(
        st.sampled_from([("a", "a", "a", "a"), ("a", "a", "b", "b"), ("a", "b", "c", "c")])
    )
    operators = []
    for i in range(count):
        seconds = {kind: float(draw(st.integers(1, 3))) for kind in sorted(set(kinds))}
        if draw(st.integers(0, 4)) == 0:
            seconds = {"*": seconds["a"]}
        operators.append(Operator(f"o{i}", modes=(Mode(seconds=seconds),)))
    tensors = [
        Tensor(f"{i}>{j}", f"o{i}", (f"o{j}",), draw(st.integers(0, 4)))
        for i, j in combinations(range(count), 2)
        if draw(st.booleans())
    ]
    links = [
        Link(f"{d}-hub", f"d{d}", "hub", bandwidth=1.0, capacity=None, shared=True)
        for d in range(devices)
    ]
    if draw(st.integers(0, 3)) == 0:
        slow = draw(st.sampled_from([0.5, math.inf]))
        links[0] = Link(
            "0-hub", "d0", "hub", bandwidth=slow, latency_s=1.0, capacity=None, shared=True
        )
    cluster = Cluster(
        "c", tuple(Device(f"d{d}", kinds[d]) for d in range(devices)), tuple(links), ("hub",)
    )
    return Problem(
        "drawn", Graph("g", tuple(operators), tuple(tensors)), cluster, Workload(), tick_s=1.0
    )


@st.composite
def delay_graphs(draw: st.DrawFn, most_tasks: int = 6, most_devices: int = 3) -> DelayGraph:
    """Forks, joins, twins and graphs without a shape; equal or unequal devices and delays."""
    count = draw(st.integers(1, most_tasks))
    devices = draw(st.integers(1, most_devices))
    uniform = draw(st.booleans())
    durations = np.array(
        [[draw(st.integers(1, 4))] * devices for _ in range(count)], dtype=np.int64
    ).reshape(count, devices)
    if not uniform:
        for i in range(count):
            for d in range(1, devices):
                durations[i, d] = draw(st.sampled_from([1, 2, 3, NEVER]))
    shape = draw(st.sampled_from(["fork", "join", "fork and join", "any", "any", "none"]))
    pairs = {
        "fork": [(0, j) for j in range(1, count)],
        "join": [(i, count - 1) for i in range(count - 1)],
        "fork and join": [
            *((0, j) for j in range(1, count - 1)),
            *((i, count - 1) for i in range(1, count - 1)),
        ],
        "none": [],
    }.get(shape)
    if pairs is None:
        pairs = [pair for pair in combinations(range(count), 2) if draw(st.booleans())]
    delays = np.zeros((len(pairs), devices, devices), dtype=np.int64)
    for e in range(len(pairs)):
        delays[e] = draw(st.integers(0, 4))
        if not uniform and draw(st.integers(0, 2)) == 0:
            delays[e, 0] += draw(st.integers(0, 2))
        np.fill_diagonal(delays[e], 0)
    return DelayGraph(durations, np.array(pairs, dtype=np.int64).reshape(-1, 2), delays)


def shortest_makespan(graph: DelayGraph) -> int:
    """Return the least makespan over all devices and orders, without any rule to leave some out."""
    count, devices = graph.durations.shape
    parents: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for e, (before, after) in enumerate(graph.edges.tolist()):
        parents[after].append((before, e))
    best = NEVER

    def extend(placed: dict[int, tuple[int, int]], free: tuple[int, ...]) -> None:
        nonlocal best
        if max(free) >= best:
            return
        if len(placed) == count:
            best = max(free)
            return
        for task in range(count):
            if task in placed or any(p not in placed for p, _ in parents[task]):
                continue
            for d in range(devices):
                start = max(
                    (
                        placed[p][1] + int(graph.delays[e, placed[p][0], d])
                        for p, e in parents[task]
                    ),
                    default=0,
                )
                end = max(start, free[d]) + int(graph.durations[task, d])
                if end < NEVER:
                    now = tuple(end if k == d else f for k, f in enumerate(free))
                    extend({**placed, task: (d, end)}, now)

    extend({}, (0,) * devices)
    return best
