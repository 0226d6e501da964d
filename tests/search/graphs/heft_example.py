"""The task graph of figure 1 and table 1 of Topcuoglu, Hariri, Wu (2002)."""

from __future__ import annotations

from itertools import permutations

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.workload import Workload, WorkloadKind

SECONDS = (
    (14, 16, 9),
    (13, 19, 18),
    (11, 13, 19),
    (13, 8, 17),
    (12, 13, 10),
    (13, 16, 9),
    (7, 15, 11),
    (5, 11, 14),
    (18, 12, 20),
    (21, 7, 16),
)
"""Of tasks 1 to 10 on processors 1 to 3."""

EDGES = {
    (1, 2): 18,
    (1, 3): 12,
    (1, 4): 9,
    (1, 5): 11,
    (1, 6): 14,
    (2, 8): 19,
    (2, 9): 16,
    (3, 7): 23,
    (4, 8): 27,
    (4, 9): 23,
    (5, 9): 13,
    (6, 8): 15,
    (7, 10): 17,
    (8, 10): 11,
    (9, 10): 13,
}
"""Seconds between different processors of what one task sends to another."""

UPWARD_RANKS = (108.0, 77.0, 80.0, 80.0, 69.0, 63.333, 42.667, 35.667, 44.333, 14.667)
"""Their table 2, with three digits."""


def heft_example() -> Problem:
    """Return the example as a problem: links carry any number of transfers."""
    operators = tuple(
        Operator(f"n{i}", modes=(Mode(seconds=dict(zip("abc", map(float, row), strict=True))),))
        for i, row in enumerate(SECONDS, start=1)
    )
    tensors = tuple(Tensor(f"{i}-{k}", f"n{i}", (f"n{k}",), size) for (i, k), size in EDGES.items())
    links = tuple(Link(f"{a}-{b}", a, b, 1.0, capacity=None) for a, b in permutations("abc", 2))
    cluster = Cluster("three", tuple(Device(name, name) for name in "abc"), links)
    workload = Workload(WorkloadKind.INFERENCE)
    return Problem("heft", Graph("heft", operators, tensors), cluster, workload, tick_s=1.0)
