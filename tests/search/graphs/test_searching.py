"""Search on task graphs: variants, annealing and critical paths; a large graph made exact."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from parplan.checking import check_schedule
from parplan.graph import Graph, Kind, Mode, Operator, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.graphs.annealing import annealed, critical_tasks
from parplan.search.graphs.from_problem import make_task_graph
from parplan.search.graphs.kernel import NEVER
from parplan.search.graphs.list_schedule import ListSchedules, Placed
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.schedules import VARIED, first_placed, graph_candidates
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from parplan.workload import Workload
from tests.search.graphs.layered import layered_problem
from tests.search.graphs.plain_lists import place_plainly


def _placer(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def _heft(lists: ListSchedules) -> Placed:
    placed = lists.in_order(lists.order(-upward_ranks(lists.graph)))
    assert placed is not None
    return placed


def test_annealing_improves_and_every_step_is_what_the_plain_twin_times(
    registry: Registry,
) -> None:
    lists = ListSchedules(make_task_graph(_placer(layered_problem(8, 6, seed=1), registry)))
    graph, start = lists.graph, _heft(lists)
    found = list(annealed(lists, start, 400, seed=3))
    makespans = [start.makespan, *(placed.makespan for placed in found)]
    assert makespans == sorted(set(makespans), reverse=True)
    assert len(makespans) > 1
    for placed in found:
        device = placed.device.copy()
        free = np.zeros(len(graph), np.int64)
        starts, _, makespan, _ = place_plainly(
            graph, placed.order, device, np.zeros(graph.ticks.shape), 0.0, free, NEVER
        )
        assert makespan == placed.makespan
        assert starts.tolist() == placed.starts.tolist()


def test_a_seed_fixes_what_annealing_finds(registry: Registry) -> None:
    lists = ListSchedules(make_task_graph(_placer(layered_problem(6, 6, seed=2), registry)))
    one, two = (
        [placed.starts.tolist() for placed in annealed(lists, _heft(lists), 200, seed=5)]
        for _ in range(2)
    )
    assert one == two


def test_tolls_keep_tasks_together_where_links_are_scarce(registry: Registry) -> None:
    """On a graph whose tensors would fill the link between the nodes, some toll beats none."""
    lists = ListSchedules(make_task_graph(_placer(layered_problem(20, 12, seed=3), registry)))
    found = first_placed(lists, registry.heuristics.values(), until=0.0, seed=0)
    names = [name for name, _ in found]
    assert names[0] == VARIED
    assert found[0][1].makespan < _heft(lists).makespan


def test_tasks_of_the_critical_path_wait_for_one_another(registry: Registry) -> None:
    """The path leads from time 0 to the makespan, and no task on it ends after the next starts."""
    lists = ListSchedules(make_task_graph(_placer(layered_problem(10, 5, seed=4), registry)))
    graph, placed = lists.graph, _heft(lists)
    path = critical_tasks(graph, placed)[::-1]
    device = placed.device[graph.unit]
    ends = placed.starts + graph.ticks[np.arange(len(graph)), device]
    assert ends[path[-1]] == placed.makespan
    assert placed.starts[path[0]] == 0
    for before, after in pairwise(path):
        assert ends[before] <= placed.starts[after]
        same_engine = device[before] == device[after]
        sent = graph.sends.producer[graph.sends.inputs.row(after)]
        assert (same_engine and ends[before] == placed.starts[after]) or before in sent


def test_ten_thousand_operators_are_planned(registry: Registry) -> None:
    """The exact schedule passes the check, and is as short as that of the task graph."""
    placer = _placer(layered_problem(100, 100, seed=5, per_node=4), registry)
    lists = ListSchedules(make_task_graph(placer))
    heft = registry.heuristics["heft"]
    (name, candidate), *_ = graph_candidates(placer, lists, [heft], until=-math.inf, seed=0)
    placed = min(
        (p for _, p in first_placed(lists, [heft], until=-math.inf, seed=0)),
        key=lambda one: one.makespan,
    )
    assert name == VARIED
    assert candidate.makespan <= placed.makespan
    assert not check_schedule(Finisher(placer).finish(candidate), placer.rules)


def test_activations_count_where_parameters_alone_lead_to_no_schedule(registry: Registry) -> None:
    """Four passes there and back keep ten bytes each; the fast device has room for two."""
    modes = (Mode(seconds={"fast": 1.0, "slow": 5.0}),)
    operators = [
        Operator(f"{kind.value} {i}", kind, module=f"m{i}", modes=modes)
        for i in range(4)
        for kind in (Kind.FORWARD, Kind.BACKWARD)
    ]
    path = [f"forward {i}" for i in range(4)] + [f"backward {i}" for i in reversed(range(4))]
    tensors = [Tensor(f"kept {i}", f"forward {i}", (f"backward {i}",), 10) for i in range(4)]
    tensors += [Tensor(f"after {one}", one, (other,)) for one, other in pairwise(path)]
    devices = (Device("x", "fast", memory_bytes=25), Device("y", "slow", memory_bytes=100))
    links = (Link("there", "x", "y", 1e3), Link("back", "y", "x", 1e3))
    graph = Graph("there and back", tuple(operators), tuple(tensors))
    problem = Problem("tight", graph, Cluster("two", devices, links), Workload(), tick_s=1.0)
    placer = _placer(problem, registry)
    lists = ListSchedules(make_task_graph(placer))
    (_, candidate), *_ = graph_candidates(
        placer, lists, registry.heuristics.values(), until=-math.inf, seed=0
    )
    assert candidate.prepared.placement == ((0, 0, 1, 1),)
    assert not check_schedule(Finisher(placer).finish(candidate), placer.rules)
