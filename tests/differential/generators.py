"""Small problems in which everything that two solvers may judge differently can meet."""

from __future__ import annotations

import os

import attrs
from hypothesis import strategies as st

from parplan.graph import Graph, Mode
from parplan.hardware import Cluster
from parplan.problem import Problem
from parplan.workload import Workload
from tests.strategies import clusters, graphs


def examples(default: int) -> int:
    """Return how many examples to draw: PARPLAN_EXAMPLES where set, else a budget for CI."""
    return int(os.environ.get("PARPLAN_EXAMPLES") or default)


@st.composite
def _scarce(draw: st.DrawFn, devices: int) -> Cluster:
    """Clusters in which some devices may not reach each other, and memory is scarce."""
    cluster = draw(clusters(devices, min_devices=draw(st.sampled_from([1, *[devices] * 5]))))
    if cluster.links and draw(st.integers(0, 4)) == 0:
        lost = draw(st.integers(0, len(cluster.links) - 1))
        links = cluster.links[:lost] + cluster.links[lost + 1 :]
        cluster = attrs.evolve(cluster, links=links, routes=())
    cap = st.sampled_from([None, None, None, 7, 10, 14, 20])
    return attrs.evolve(
        cluster, devices=tuple(attrs.evolve(d, memory_bytes=draw(cap)) for d in cluster.devices)
    )


@st.composite
def _placed(draw: st.DrawFn, graph: Graph, cluster: Cluster) -> Graph:
    """Tie some modes to a device, so that tensors must travel, and some to a layout."""
    names = [device.name for device in cluster.devices]
    layouts = draw(st.sampled_from([("",), ("",), ("", "", "rows", "columns")]))

    def changed(mode: Mode) -> Mode:
        tied = mode.devices == 1 and draw(st.integers(0, 2)) > 0
        return attrs.evolve(
            mode,
            groups=((draw(st.sampled_from(names)),),) if tied else (),
            layout=draw(st.sampled_from(layouts)),
        )

    return attrs.evolve(
        graph,
        operators=tuple(
            attrs.evolve(o, modes=tuple(changed(m) for m in o.modes)) for o in graph.operators
        ),
    )


@st.composite
def _few(draw: st.DrawFn, count: int) -> Workload:
    """One or two microbatches: groups, unequal sizes, a late second one."""
    column = [
        draw(st.sampled_from([(), (), values]))
        for values in (tuple(range(count)), (1.0, 1.5)[:count], (0.0, 2.0)[:count])
    ]
    return Workload(
        microbatches=count,
        groups=column[0],  # type: ignore[arg-type]  # the first column is whole numbers
        scales=column[1],
        releases_s=column[2],
    )


@st.composite
def small_problems(
    draw: st.DrawFn, max_operators: int, max_devices: int, max_tasks: int
) -> Problem:
    """Problems of one or two microbatches, infeasible ones included."""
    cluster = draw(_scarce(max_devices))
    graph = draw(_placed(draw(graphs(max_operators)), cluster))
    microbatches = draw(st.integers(1, 2 if 2 * len(graph.operators) <= max_tasks else 1))
    return Problem("drawn", graph, cluster, draw(_few(microbatches)), tick_s=1.0)
