"""Which problems are tasks with delays and no more; and that their schedules are the problem's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from benchmarks.optimal_schedules import delay_problem, read_gxl
from parplan.checking import check_plan, check_schedule
from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.options import SearchOptions
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.enumeration.delay_graph import LATEST, NEVER, DelayGraph, as_delay_graph
from parplan.search.enumeration.racing import Race
from parplan.search.enumeration.schedules import schedule_of
from parplan.search.orchestrator import search
from parplan.workload import Workload
from tests.exhaustive import TooLargeError, shortest_schedule
from tests.search.enumeration.drawing import delay_problems

REMEMBERED = 1 << 12


def diamond() -> Problem:
    """Return four operators on two devices; 7 bytes and 2 of parameters in all, no limit."""
    seconds = {"o0": 1.0, "o1": 3.0, "o2": 2.0, "o3": 1.0}
    operators = tuple(
        Operator(name, parameters=("w",) if name == "o1" else (), modes=(Mode(seconds={"*": s}),))
        for name, s in seconds.items()
    )
    tensors = (
        Tensor("a", "o0", ("o1", "o2"), bytes=2),
        Tensor("b", "o1", ("o3",), bytes=1),
        Tensor("c", "o2", ("o3",), bytes=4),
    )
    cluster = Cluster(
        "pair",
        (Device("d0"), Device("d1")),
        (Link("wire", "d0", "d1", bandwidth=1.0, capacity=None, shared=True),),
    )
    graph = Graph("diamond", operators, tensors, (ParameterGroup("w", 2),))
    return Problem("diamond", graph, cluster, Workload(), tick_s=1.0)


def graph_of(problem: Problem, registry: Registry) -> DelayGraph | None:
    """Return a problem as a delay graph, if it is one."""
    return as_delay_graph(problem, make_rules(problem, registry))


def shortest(problem: Problem, registry: Registry) -> tuple[int, Schedule | None]:
    """Return what a race proves of a delay graph, and its schedule in the problem, checked."""
    rules = make_rules(problem, registry)
    graph = as_delay_graph(problem, rules)
    assert graph is not None
    race = Race.of(graph, LATEST, REMEMBERED)
    found = None
    for sequence in race.run(until=math.inf):
        found = schedule_of(problem, rules.allowed, sequence)
        assert check_schedule(found, rules) == ()
        assert found.makespan == race.limit + 1
    return race.least, found


def with_devices(problem: Problem, **changes: object) -> Problem:
    """Return a problem whose devices differ."""
    devices = tuple(attrs.evolve(d, **changes) for d in problem.cluster.devices)
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=devices))


def with_cluster(problem: Problem, **changes: object) -> Problem:
    """Return a problem whose cluster differs."""
    return attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, **changes))


def with_first_operator(problem: Problem, *modes: Mode) -> Problem:
    """Return a problem whose first operator has other modes."""
    first, *rest = problem.graph.operators
    operators = (attrs.evolve(first, modes=modes), *rest)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))


def test_a_problem_of_tasks_with_delays_is_stated_as_such(registry: Registry) -> None:
    graph = graph_of(diamond(), registry)
    assert graph is not None
    assert graph.durations.tolist() == [[1, 1], [3, 3], [2, 2], [1, 1]]
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert graph.delays[:, 0, 1].tolist() == [2, 2, 1, 4]
    assert graph.delays[:, 0, 0].tolist() == [0, 0, 0, 0]


def test_running_backwards_turns_everything_round(registry: Registry) -> None:
    graph = graph_of(diamond(), registry)
    assert graph is not None
    back = graph.reversed()
    assert back.durations[:, 0].tolist() == [1, 2, 3, 1]
    assert back.edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert back.delays[:, 0, 1].tolist() == [4, 1, 2, 2]


def test_memory_that_holds_everything_does_not_bind(registry: Registry) -> None:
    assert graph_of(with_devices(diamond(), memory_bytes=9), registry) is not None


def test_forbidden_modes_and_devices_are_left_out(registry: Registry) -> None:
    modes = Mode("fast", seconds={"*": 1.0}), Mode("slow", seconds={"*": 2.0})
    forbidden = Rule("placement", {"forbid_modes": {"o0": ["fast"]}, "forbid": {"o0": ["d1"]}})
    problem = with_first_operator(diamond(), *modes)
    graph = graph_of(attrs.evolve(problem, constraints=(*problem.constraints, forbidden)), registry)
    assert graph is not None
    assert graph.durations[0].tolist() == [2, NEVER]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: with_devices(p, memory_bytes=8),
        lambda p: with_devices(p, engines={"compute": 2}),
        lambda p: attrs.evolve(p, constraints=()),
        lambda p: attrs.evolve(p, workload=Workload(microbatches=2)),
        lambda p: attrs.evolve(p, workload=Workload(releases_s=(1.0,))),
        lambda p: with_cluster(p, fifo=True),
        lambda p: with_cluster(p, transfer_engines=("send", "receive")),
        lambda p: with_cluster(p, links=(Link("wire", "d0", "d1", 1.0, shared=True),)),
        lambda p: with_first_operator(p, Mode(seconds={"*": 0.0})),
        lambda p: with_first_operator(p, Mode(seconds={"*": 1.0}, engines=("collective",))),
        lambda p: with_first_operator(
            p, Mode(seconds={"*": 1.0}, devices=2, groups=(("d0", "d1"),))
        ),
        lambda p: with_first_operator(
            p, Mode("a", seconds={"*": 1.0}), Mode("b", seconds={"*": 2.0})
        ),
        lambda p: attrs.evolve(
            p,
            constraints=(
                *p.constraints,
                Rule("placement", {"together": [["o0", "o1"]]}),
            ),
        ),
    ],
)
def test_what_more_binds_is_not_enumerated(
    change: Callable[[Problem], Problem], registry: Registry
) -> None:
    assert graph_of(change(diamond()), registry) is None


@settings(max_examples=60, deadline=None)
@given(problem=delay_problems(most_tasks=4))
def test_the_shortest_schedule_is_that_of_full_enumeration(
    problem: Problem, registry: Registry
) -> None:
    least, found = shortest(problem, registry)
    try:
        expected = shortest_schedule(problem, max_nodes=200_000)
    except TooLargeError:
        reject()
    assert expected is not None
    assert found is not None
    assert least == found.makespan == expected.makespan


@settings(max_examples=40, deadline=None)
@given(data=st.data(), problem=delay_problems(most_tasks=3, most_devices=2))
def test_what_is_taken_for_tasks_with_delays_is_no_more(
    data: st.DataObject, problem: Problem, registry: Registry
) -> None:
    """With memory that may bind, and links that may queue: where it is taken, it is right."""
    memory = data.draw(st.sampled_from([2, 4, 8, None]))
    queue = data.draw(st.sampled_from([None, None, 1]))
    problem = with_devices(problem, memory_bytes=memory)
    links = tuple(attrs.evolve(link, capacity=queue) for link in problem.cluster.links)
    problem = with_cluster(problem, links=links)
    if graph_of(problem, registry) is None:
        return
    expected = shortest_schedule(problem, max_nodes=200_000)
    assert expected is not None
    assert shortest(problem, registry)[0] == expected.makespan


def test_a_search_without_a_solver_proves_what_it_enumerates(registry: Registry) -> None:
    problem = diamond()
    rules = make_rules(problem, registry)
    options = SearchOptions(solver="list", time_limit_s=20.0, workers=1)
    plan = search(problem, rules, registry, options)
    assert check_plan(plan, registry) == ()
    assert (plan.value, plan.status) == (6.0, "optimal")


@pytest.mark.parametrize(
    ("name", "processors", "optimum"),
    [
        ("2p_Fork_Nodes_30_CCR_9.98", 2, 108),
        ("4p_Join_Nodes_30_CCR_2.00", 4, 62),
        ("8p_Join_Nodes_30_CCR_0.99", 8, 36),
        ("2p_OutTree-Unbalanced-MaxBf-3_Nodes_21_CCR_0.99", 2, 72),
    ],
)
def test_published_optima_that_leave_solvers_open_are_proven(
    name: str, processors: int, optimum: int, registry: Registry, data_dir: Path
) -> None:

    path = data_dir / "auckland" / "gxl" / f"{name}_WeightType_Random.gxl"
    problem = delay_problem(name, read_gxl(path.read_text(), str(path)), processors)
    graph = graph_of(problem, registry)
    assert graph is not None
    race = Race.of(graph, optimum + 3)
    list(race.run(until=math.inf))
    assert race.least == optimum
