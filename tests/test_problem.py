from __future__ import annotations

from parplan.graph import Graph, Mode, Operator
from parplan.hardware import Cluster, Device
from parplan.problem import Problem
from parplan.workload import Workload


def test_modes_that_differ_in_engine_or_ring_only_have_alternatives_of_their_own() -> None:
    """Alternatives are shared among equal operators; a ring needs routes that a gang does not."""
    gang = Mode("gang", devices=2, seconds={"*": 1.0})
    ring = Mode("gang", devices=2, seconds={"*": 1.0}, ring_steps=1, ring_bytes=4)
    single = Mode("single", seconds={"*": 1.0})
    copying = Mode("single", seconds={"*": 1.0}, engines=("host-copy",))
    devices = (Device("g0"), Device("g1", engines={"compute": 1}))
    problem = Problem(
        "p",
        Graph(
            "g",
            (
                Operator("a", modes=(gang, single)),
                Operator("b", modes=(ring, single)),
                Operator("c", modes=(gang, copying)),
            ),
        ),
        Cluster("no links", devices, groups=(("g0", "g1"),)),
        Workload(),
    )
    places = [[(a.mode, a.devices) for a in found] for found in problem.alternatives]
    assert places[0] == [(0, (0, 1)), (1, (0,)), (1, (1,))]
    assert places[1] == [(1, (0,)), (1, (1,))]
    assert places[2] == [(0, (0, 1)), (1, (0,))]
