"""Small problems in which everything that two solvers may judge differently can meet."""

from __future__ import annotations

import os

import attrs
from hypothesis import strategies as st

from parplan.declarations import (
    Apart,
    Declaration,
    Edge,
    Forbidden,
    Held,
    Moving,
    Order,
    Receiving,
    Resident,
    Resource,
    Running,
    Sending,
    TimeLag,
    Together,
)
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
    groups = draw(st.sampled_from([(), (), tuple(range(count))]))
    scales = draw(st.sampled_from([(), (), (1.0, 1.5)[:count]]))
    releases_s = draw(st.sampled_from([(), (), (0.0, 2.0)[:count]]))
    return Workload(
        microbatches=count,
        groups=groups,
        scales=scales,
        releases_s=releases_s,
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


@st.composite
def declarations(draw: st.DrawFn, problem: Problem) -> tuple[Declaration, ...]:
    """One or two rules on a problem, of every kind there is."""
    kinds = [_watts, _traffic, _resident, _held, _lag, _order, _pairs, _ban]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2, unique=True))
    return tuple(found for kind in chosen for found in draw(kind(problem)))


def _operators(problem: Problem) -> st.SearchStrategy[list[str]]:
    """Two operators, the earlier one first in topological order."""
    order = problem.graph.topological_order
    if len(order) < 2:
        return st.nothing()
    pairs = st.lists(st.sampled_from(range(len(order))), min_size=2, max_size=2, unique=True)
    names = [operator.name for operator in problem.graph.operators]
    return pairs.map(lambda pair: [names[order[i]] for i in sorted(pair)])


@st.composite
def _watts(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    amount = st.sampled_from([0.5, 1.0, 2.0, 3.0])
    demands = [Running(d.name, draw(amount)) for d in problem.cluster.devices]
    return [Resource("watts", draw(st.sampled_from([2.0, 3.5, 4.0])), demands)]


@st.composite
def _traffic(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    cluster = problem.cluster
    demands = [
        kind(d.name, draw(st.sampled_from([1.0, 2.0])))
        for d in cluster.devices
        for kind in (Sending, Receiving)
    ]
    links = [Moving(link.name) for link in cluster.links]
    capacity = draw(st.sampled_from([1.0, 2.0, 4.0]))
    return [Resource("traffic", capacity, draw(st.sampled_from([demands, links])))]


@st.composite
def _resident(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    demands = [Resident(d.name) for d in problem.cluster.devices]
    return [Resource("all memory", float(draw(st.integers(3, 12))), demands)]


@st.composite
def _held(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    first, second = draw(_operators(problem))
    device = draw(st.sampled_from([None, *(d.name for d in problem.cluster.devices)]))
    edge = st.sampled_from([Edge.START, Edge.END])
    held = Held(first, second, draw(edge), draw(edge), draw(st.sampled_from([1.0, 2.0])), device)
    return [Resource("slots", 2.0, [held, *(Running(d.name) for d in problem.cluster.devices)])]


@st.composite
def _lag(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    first, second = draw(_operators(problem))
    edge = st.sampled_from([Edge.START, Edge.END])
    seconds, offset = draw(st.sampled_from([0.0, 1.0, 2.0])), draw(st.sampled_from([0, 0, 1]))
    return [TimeLag(first, second, seconds, draw(edge), draw(edge), offset)]


@st.composite
def _order(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    return [Order(draw(_operators(problem)))]


@st.composite
def _pairs(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    names = draw(_operators(problem))
    kinds = [Apart(names), Together(names, "devices"), Together(names, "modes")]
    return [draw(st.sampled_from(kinds))]


@st.composite
def _ban(draw: st.DrawFn, problem: Problem) -> list[Declaration]:
    operator = draw(st.sampled_from(problem.graph.operators))
    device = draw(st.sampled_from([None, *(d.name for d in problem.cluster.devices)]))
    mode = draw(st.sampled_from([None, *(m.name for m in operator.modes)]))
    group = draw(st.sampled_from([None, *range(problem.workload.group_count)]))
    return [] if device is mode is None else [Forbidden(operator.name, device, mode, group)]
