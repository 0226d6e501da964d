"""Dominance and presolve: what is merged or left out costs no tick, by exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from parplan.graph import Graph, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.schedule import Schedule
from parplan.search.coarsening.dominance import TogetherMerge, Units, inseparable, weightless
from parplan.search.coarsening.presolve import has_shortest_latencies, without_implied_sends
from parplan.search.coarsening.task_graphs import dag_of_units
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.ranks import upward_ranks
from parplan.workload import Workload
from tests.exhaustive import TooLargeError, shortest_schedule
from tests.search.coarsening.test_levels import task_graph

FILTERED = [HealthCheck.filter_too_much, HealthCheck.too_slow]


@st.composite
def tiny_problems(
    draw: st.DrawFn,
    most: int = 4,
    devices: int = 2,
    *,
    light: bool = False,
    capacities: Sequence[int | None] = (1, None),
) -> Problem:
    """Draw a few operators, some of which take no time, on unequal devices.

    Parameters
    ----------
    light
        Whether one more operator is of the kind that stands by what it reads.
    capacities
        Of the links, one for all of them.
    """
    count = draw(st.integers(2, most))
    names = [f"o{i}" for i in range(count)]
    kinds = [f"k{d}" for d in range(devices)]
    ticks = st.sampled_from((0.0, 1.0, 2.0, 3.0))
    operators = []
    for name in names:
        base = draw(ticks)
        slower = [draw(st.integers(1, 2)) for _ in kinds]
        seconds = {kind: base * factor for kind, factor in zip(kinds, slower, strict=True)}
        operators.append(Operator(name, modes=(Mode(seconds=seconds),)))
    tensors = []
    for i in range(count - 1):
        readers = draw(st.sets(st.sampled_from(names[i + 1 :]), max_size=2))
        if readers:
            size = draw(st.integers(0, 4))
            tensors.append(Tensor(f"t{i}", names[i], tuple(sorted(readers)), size))
    if light:
        # One more operator: it takes no time, has an input of its own, and makes no more of it.
        where = draw(st.integers(0, count - 1))
        size = draw(st.integers(0, 4))
        nothing = dict.fromkeys(kinds, 0.0)
        operators.append(Operator("light", modes=(Mode(seconds=nothing),)))
        tensors.append(Tensor("own", names[where], ("light",), size))
        readers = draw(st.sets(st.sampled_from(names[where + 1 :] or ["light"]), max_size=2))
        if readers - {"light"}:
            made = draw(st.integers(0, size))
            tensors.append(Tensor("made", "light", tuple(sorted(readers - {"light"})), made))
    capacity = draw(st.sampled_from(capacities))
    latencies = st.sampled_from((0.0, 1.0))
    links = tuple(
        Link(f"{a}-{b}", f"d{a}", f"d{b}", 1.0, draw(latencies), capacity)
        for a in range(devices)
        for b in range(devices)
        if a != b
    )
    placed = tuple(Device(f"d{d}", kind=kind) for d, kind in enumerate(kinds))
    return Problem(
        "tiny",
        Graph("tiny", tuple(operators), tuple(tensors)),
        Cluster("tiny", placed, links),
        Workload(),
        tick_s=1.0,
    )


def optimum(problem: Problem, together: Units | None = None) -> int:
    """Return the least makespan, if need be with the operators of these units on one device."""
    # Units are numbered as the operators are in topological order: none has a module.
    operator = np.array(problem.graph.topological_order)

    def accept(schedule: Schedule) -> bool:
        tasks = schedule.tasks
        rows = zip(tasks.operator.tolist(), tasks.alternative.tolist(), strict=True)
        device = {o: problem.alternatives[o][row].devices for o, row in rows}
        return together is None or all(
            device[a] == device[b]
            for a, b in zip(operator[together.some], operator[together.others], strict=True)
        )

    try:
        found = shortest_schedule(problem, accept=accept, max_nodes=200_000)
    except TooLargeError:
        assume(condition=False)
    assert found is not None
    return found.makespan


@settings(max_examples=40, deadline=None, suppress_health_check=FILTERED)
@given(problem=tiny_problems(3, light=True))
def test_what_takes_no_time_may_stand_by_what_it_reads(
    problem: Problem, registry: Registry
) -> None:
    together = weightless(task_graph(problem, registry))
    assume(len(together.some) > 0)
    assert optimum(problem, together) == optimum(problem)


@settings(max_examples=30, deadline=None, suppress_health_check=FILTERED)
@given(problem=tiny_problems(2, 3, light=True, capacities=[None]))
def test_on_three_devices_only_where_nothing_queues(problem: Problem, registry: Registry) -> None:
    together = weightless(task_graph(problem, registry))
    assume(len(together.some) > 0)
    assert optimum(problem, together) == optimum(problem)
    links = tuple(attrs.evolve(link, capacity=1) for link in problem.cluster.links)
    queued = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, links=links))
    assert len(weightless(task_graph(queued, registry)).some) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=FILTERED)
@given(problem=tiny_problems())
def test_every_better_schedule_keeps_inseparable_operators_together(
    problem: Problem, registry: Registry
) -> None:
    best = optimum(problem)
    together = inseparable(task_graph(problem, registry), best + 1)
    assume(len(together.some) > 0)
    assert optimum(problem, together) == best


def test_a_send_that_would_take_too_long_keeps_its_ends_together(registry: Registry) -> None:
    graph = task_graph(_chain_of_three(), registry)
    # 1 + (2 + 1) + 1 + 1 where the first send crosses; 1 + 1 + (8 + 1) + 1 where the second does.
    assert _pairs(inseparable(graph, 7)) == [(1, 2)]
    assert _pairs(inseparable(graph, 6)) == [(0, 1), (1, 2)]
    assert _pairs(inseparable(graph, 13)) == []
    merged = TogetherMerge(*inseparable(graph, 7)).apply(dag_of_units(graph))
    assert merged.part_of.tolist() == [0, 1, 1]


def _chain_of_three() -> Problem:
    mode = (Mode(seconds={"*": 1.0}),)
    links = (Link("ab", "d0", "d1", 1.0, 1.0), Link("ba", "d1", "d0", 1.0, 1.0))
    return Problem(
        "chain",
        Graph(
            "chain",
            tuple(Operator(name, modes=mode) for name in "abc"),
            (Tensor("x", "a", ("b",), 2), Tensor("y", "b", ("c",), 8)),
        ),
        Cluster("two", (Device("d0"), Device("d1")), links),
        Workload(),
        tick_s=1.0,
    )


def _pairs(units: Units) -> list[tuple[int, int]]:
    return list(zip(units.some.tolist(), units.others.tolist(), strict=True))


@settings(max_examples=30, deadline=None, suppress_health_check=FILTERED)
@given(problem=tiny_problems(8, 3, capacities=[None]), data=st.data())
def test_what_is_implied_can_be_left_out(
    problem: Problem, registry: Registry, data: st.DataObject
) -> None:
    # Empty tensors alone, so that much is implied.
    tensors = tuple(attrs.evolve(t, bytes=t.bytes * (t.bytes > 2)) for t in problem.graph.tensors)
    problem = attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=tensors))
    graph = task_graph(problem, registry)
    less = without_implied_sends(graph)
    lists, fewer = ListSchedules(graph), ListSchedules(less)
    device = np.array([data.draw(st.integers(0, 2)) for _ in range(graph.units)], dtype=np.int64)
    order = lists.order(-upward_ranks(graph))
    whole, short = lists.in_order(order, device), fewer.in_order(order, device)
    assert whole is not None
    assert short is not None
    assert short.starts.tolist() == whole.starts.tolist()


def test_nothing_but_what_is_empty_and_implied_is_left_out(registry: Registry) -> None:
    chain = _chain_of_three()
    for size, left in ((0, 2), (1, 3)):
        over = Tensor("over", "a", ("c",), size)
        graph = attrs.evolve(chain.graph, tensors=(*chain.graph.tensors, over))
        found = without_implied_sends(task_graph(attrs.evolve(chain, graph=graph), registry))
        assert len(found.sends.readers.item) == left
        assert len(found.sends.inputs.item) == left


@pytest.mark.parametrize(("detour", "shortest"), [(1, False), (3, True)])
def test_latencies_are_compared_with_detours(
    registry: Registry, detour: int, shortest: bool
) -> None:
    names = ("d0", "d1", "d2")
    links = tuple(
        Link(f"{a}{b}", a, b, 1.0, 6.0 if {a, b} == {"d0", "d2"} else float(detour))
        for a in names
        for b in names
        if a != b
    )
    devices = tuple(Device(name) for name in names)
    problem = attrs.evolve(_chain_of_three(), cluster=Cluster("three", devices, links))
    assert has_shortest_latencies(task_graph(problem, registry).routes) == shortest
