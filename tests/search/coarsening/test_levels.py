"""Placement by levels: the graph of parts says what the parts are, and refinement only helps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.random_dags import Shape, random_dag
from parplan import clock
from parplan.graph import Graph, Mode, Operator, ParameterGroup, Tensor
from parplan.hardware import Cluster, Device, Link
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search import exact
from parplan.search.coarsening.balancing import BalancedMerge
from parplan.search.coarsening.candidates import can_be_coarsened
from parplan.search.coarsening.levels import place_by_levels
from parplan.search.coarsening.merging import merge
from parplan.search.coarsening.refining import refined
from parplan.search.coarsening.task_graphs import dag_of_units, graph_of_parts
from parplan.search.graphs.from_problem import make_task_graph
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.task_graph import TaskGraph
from parplan.search.incumbent import Incumbent
from parplan.search.outcome import make_plan
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.search.run import Run
from parplan.search.steps import place_by_levels as place_by_levels_step
from parplan.workload import Workload

SHAPE = Shape(120, (1.0, 2.0, 0.5), 0.5, parts=20, seed=1)


def task_graph(problem: Problem, registry: Registry) -> TaskGraph:
    """Return the task graph of a problem."""
    rules = make_rules(problem, registry)
    return make_task_graph(Placer(problem, rules, find_blocks(problem, rules)))


def shared_weights(devices: Sequence[Device]) -> Problem:
    """Return three operators in a chain with a gradient back, two of which read one group."""
    names = [device.name for device in devices]
    operators = (
        Operator("a", modes=(Mode(seconds={"*": 2.0}),), parameters=("w",), module="m.a"),
        Operator("b", modes=(Mode(seconds={"*": 3.0}),), parameters=("w", "v"), module="m.b"),
        Operator("c", modes=(Mode(seconds={"*": 4.0}, groups=((names[0],),)),)),
        Operator("back", modes=(Mode(seconds={"*": 5.0}),), module="m.a"),
    )
    tensors = (
        Tensor("ab", "a", ("b", "c"), 7),
        Tensor("bc", "b", ("c", "back"), 11),
        Tensor("cd", "c", ("back",), 13),
    )
    parameters = (ParameterGroup("w", 100), ParameterGroup("v", 10))
    links = tuple(Link(f"{a}-{b}", a, b, 1.0) for a in names for b in names if a != b)
    return Problem(
        "shared",
        Graph("shared", operators, tensors, parameters),
        Cluster("two", tuple(devices), links),
        Workload(microbatches=2),
        tick_s=1.0,
    )


def test_units_take_all_their_tasks_and_what_goes_back_brings_them_near(
    registry: Registry,
) -> None:
    graph = task_graph(shared_weights((Device("d0"), Device("d1"))), registry)
    dag = dag_of_units(graph, ["m.a", "m.b", ""])
    assert dag.work.tolist() == [[14.0, 14.0], [6.0, 6.0], [8.0, math.inf]]
    pairs = dag.pairs
    # Each of two microbatches: 7 bytes from a to b and c; back: 11 from b, 13 from c, to a.
    assert list(zip(pairs.tails, pairs.heads, pairs.bytes, strict=True)) == [
        (0, 1, 2 * (7 + 11)),
        (0, 2, 2 * (7 + 13)),
        (1, 2, 2 * 11),
    ]


def test_a_part_is_one_task_with_the_parameters_of_all_its_members(registry: Registry) -> None:
    graph = task_graph(shared_weights((Device("d0"), Device("d1"))), registry)
    found = merge(dag_of_units(graph), np.array([0, 0, 1], dtype=np.int64))
    parts = graph_of_parts(graph, found.coarse, found.part_of)
    assert parts.ticks.tolist() == [[20, 20], [8, -1]]
    assert parts.allowed.tolist() == [[True, True], [True, False]]
    assert parts.memory.groups.row(0).tolist() == [0, 1]
    assert parts.memory.groups.row(1).tolist() == []
    # A tensor of a part is sent once to another part, whoever reads it there.
    assert parts.sends.bytes.sum() == 2 * (7 + 11 + 13)


@pytest.mark.parametrize("size", [10, 40])
def test_levels_end_no_later_than_heft_and_say_what_coarsening_cost(
    registry: Registry, size: int
) -> None:
    lists = ListSchedules(task_graph(random_dag(SHAPE), registry))
    levels = tuple(BalancedMerge(size).levels(dag_of_units(lists.graph)))
    found = place_by_levels(lists, levels, refined, until=0.0)
    assert found is not None
    placed, figures = found
    assert figures.sizes[0] == 120
    assert figures.sizes[-1] == size
    assert figures.refined == placed.makespan
    heft = lists.in_order(lists.order(-upward_ranks(lists.graph)))
    assert heft is not None
    assert placed.makespan <= heft.makespan


def test_refining_never_ends_above_its_start(registry: Registry) -> None:
    lists = ListSchedules(task_graph(random_dag(SHAPE), registry))
    device = np.arange(120) % 3
    start = lists.in_order(lists.order(-upward_ranks(lists.graph)), device)
    found = refined(lists, device, 0.0, 0)
    assert start is not None
    assert found is not None
    assert found.makespan <= start.makespan


def test_a_plan_says_what_coarsening_cost(registry: Registry) -> None:
    problem = random_dag(SHAPE)
    rules = make_rules(problem, registry)
    options = SearchOptions(solver="list", time_limit_s=60.0, workers=1)
    incumbent = Incumbent(rules)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    run = Run(placer, registry, options, incumbent, deadline=math.inf)
    place_by_levels_step(run, clock.now() + 2.0)
    assert incumbent.rejected == []
    assert incumbent.found_by == "levels"
    engine = exact.choose(problem, rules, registry, options)
    plan = make_plan(problem, rules, options, engine, incumbent, [], interrupted=False)
    cost = plan.provenance["coarsening"]
    assert set(cost) == {"sizes", "coarse_s", "uncoarsened_s", "refined_s"}
    assert cost["sizes"][0] == 120
    assert plan.value <= cost["refined_s"] + problem.tick_s / 2


def test_small_graphs_are_searched_as_they_are(registry: Registry) -> None:
    problem = random_dag(Shape(60, (1.0, 2.0), 0.5, parts=10, seed=1))
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    assert not can_be_coarsened(placer, 100.0)
