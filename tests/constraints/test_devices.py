"""Engines carry as many tasks and transfers as they have room for."""

from __future__ import annotations

from typing import Any

import attrs

from parplan.checking import check_schedule
from parplan.hardware import Device
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests.examples import chain, placed


def found(problem: Problem, registry: Registry, starts: list[int], **places: Any) -> list[str]:
    schedule = placed(problem, **places)
    tasks = attrs.evolve(schedule.tasks, start=starts)
    shifted = Schedule(problem, tasks, schedule.transfers)
    return [v.where for v in check_schedule(shifted, make_rules(problem, registry))]


def unrelated(**engines: int) -> Problem:
    problem = chain(2, seconds=2.0)
    cluster = problem.cluster
    devices = (Device("g0", engines=engines or {"compute": 1}),)
    return attrs.evolve(
        problem,
        graph=attrs.evolve(problem.graph, tensors=()),
        cluster=attrs.evolve(cluster, devices=devices),
    )


def test_one_task_at_a_time(registry: Registry) -> None:
    assert found(unrelated(), registry, [0, 1]) == ["g0.compute"]
    assert found(unrelated(), registry, [0, 2]) == []


def test_an_engine_of_capacity_2_carries_two(registry: Registry) -> None:
    assert found(unrelated(compute=2), registry, [0, 1]) == []


def test_tasks_of_no_length_take_no_engine(registry: Registry) -> None:
    problem = unrelated()
    instant = attrs.evolve(problem.graph.operators[1].modes[0], seconds={"*": 0.0})
    second = attrs.evolve(problem.graph.operators[1], modes=(instant,))
    graph = attrs.evolve(problem.graph, operators=(problem.graph.operators[0], second))
    assert found(attrs.evolve(problem, graph=graph), registry, [0, 1]) == []


def test_blocking_transfers_hold_the_compute_engines_at_both_ends(registry: Registry) -> None:
    problem = chain(3, devices=2, seconds=2.0, size=3)
    blocking = attrs.evolve(problem.cluster, transfer_engines=("compute", "compute"))
    graph = attrs.evolve(problem.graph, tensors=problem.graph.tensors[:1])
    problem = attrs.evolve(problem, graph=graph)
    # o0 on g0 0-2, its transfer 2-5, o1 on g1 from 5; o2, unrelated, on g0 or g1 at 3.
    for place in ("g0", "g1"):
        assert found(problem, registry, [0, 5, 3], o1="g1", o2=place) == []
        blocked = attrs.evolve(problem, cluster=blocking)
        assert found(blocked, registry, [0, 5, 3], o1="g1", o2=place) == [f"{place}.compute"]
