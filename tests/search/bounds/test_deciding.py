"""A decided makespan: schedules that are found are ones, and nothing is refuted that has one."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from parplan import clock
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import deciding
from parplan.search.bounds.deciding import Verdict, decide_makespan
from parplan.search.bounds.decision import Hold, matched
from parplan.search.bounds.instance import Assignment
from parplan.search.bounds.streams import Machine, Room
from tests.search.bounds.test_memory import one_stage_per_device, optimum
from tests.search.pipelines import drawn_times, even_pipeline

REGISTRY = load_registry(installed=False)


@pytest.fixture(params=["orders", "CP-SAT"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave one way to decide."""
    if request.param == "orders":
        monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    else:
        monkeypatch.setattr(deciding, "ORDERS_SHARE", 0.0)
    return str(request.param)


def verdict(problem: Problem, ticks: int, assignment: Assignment | None = None) -> Verdict:
    rules = make_rules(problem, REGISTRY)
    deadline = clock.now() + 60
    return decide_makespan(problem, rules, assignment, ticks * problem.tick_s, deadline)


def check(
    problem: Problem, starts: Mapping[tuple[int, int], int], assignment: Assignment, horizon: int
) -> None:
    """Hold a schedule against precedence, single machines and memory, written out by hand."""
    graph, workload = problem.graph, problem.workload
    choice = {
        (o, k): problem.alternatives[o][assignment.get((o, workload.group(k)), 0)]
        for o, k in starts
    }
    end = {(o, k): at + problem.ticks(o, choice[o, k], k) for (o, k), at in starts.items()}
    assert sorted(starts) == sorted(problem.tasks())
    assert max(end.values()) <= horizon
    changes: dict[int, list[tuple[int, int, int]]] = {}
    for t, readers in enumerate(graph.consumers):
        producer, size = graph.producers[t], graph.tensors[t].bytes
        for k in range(workload.microbatches):
            source = choice[producer, k].devices[0]
            for reader in readers:
                target, delay = choice[reader, k].devices[0], 0
                if target != source:
                    timing = problem.transfer_timing(size, source, target)
                    assert timing is not None
                    delay = timing.arrival
                assert starts[reader, k] >= end[producer, k] + delay
            if size:
                given_back = max(end[reader, k] for reader in readers)
                changes.setdefault(source, []).append((starts[producer, k], 1, size))
                changes[source].append((given_back, 0, -size))
    for device, some in changes.items():
        capacity = problem.cluster.devices[device].memory_bytes
        assert capacity is not None
        assert np.cumsum([size for _, _, size in sorted(some)]).max() <= capacity
    for device in range(len(problem.cluster.devices)):
        there = sorted((starts[x], end[x]) for x in starts if choice[x].devices[0] == device)
        assert all(before[1] <= after[0] for before, after in pairwise(there))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(24))
def test_a_makespan_is_refuted_just_below_the_optimum_of_small_pipelines(seed: int) -> None:
    rng = random.Random(seed)
    mirrored = rng.random() < 0.5
    times = drawn_times(rng, rng.randint(1, 3))
    problem = one_stage_per_device(
        times,
        rng.choice([2, 4, 6]) if mirrored else rng.randint(1, 5),
        rng.randint(1, 3),
        mirrored=mirrored,
        delay=float(rng.randint(0, 3)),
        release=rng.choice(["W", "B", "half"]),
        tick_s=1.0,
    )
    best = optimum(problem)
    below, at = verdict(problem, best - 1), verdict(problem, best)
    assert below.starts is None
    assert below.bound is not None
    assert below.bound.claimed
    assert below.bound.value == best
    assert at.bound is None
    assert at.starts is not None
    check(problem, at.starts, {}, best)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("saved", "delay"), [(2, 0.0), (3, 0.3), (2, 1.0)])
def test_two_directions_in_placement_groups_decide_as_two_pinned_chains(
    saved: int, delay: float
) -> None:
    # Ticks are a tenth: the optimum is found among the multiples of what all times share.
    pinned = one_stage_per_device([(1.0, 1.0, 1.0)] * 4, 6, saved, mirrored=True, delay=delay)
    problem = even_pipeline(
        4, 4, 6, memory=saved, delay=delay, groups=(0, 1) * 3, tick_s=pinned.tick_s
    )
    assignment = {
        (o, group): alternative
        for o, operator in enumerate(problem.graph.operators)
        for alternative, choice in enumerate(problem.alternatives[o])
        for group in (0, 1)
        if choice.devices[0] == (stage := int(operator.name[1:])) + group * (3 - 2 * stage)
    }
    best = optimum(pinned)
    below, at = verdict(problem, best - 1, assignment), verdict(problem, best, assignment)
    assert below.bound is not None
    assert below.bound.scope == "assignment"
    assert below.bound.value == pytest.approx(best * problem.tick_s)
    assert at.bound is None
    assert at.starts is not None
    check(problem, at.starts, assignment, best)


def test_memory_is_split_into_holds_that_end_after_they_begin() -> None:
    room = Room(np.array([2.0, 3.0, 0.0, 0.0]), np.array([0.0, 0.0, 3.0, 2.0]), np.zeros(4), 9.0)
    chain = Machine(np.arange(4), ((0, 1), (1, 2), (2, 3)), (room,))
    assert matched(chain, room) == [Hold(0, 2, 2.0), Hold(1, 2, 1.0), Hold(1, 3, 2.0)]
    # Nothing that ends with the third is sure to have begun before it.
    assert matched(Machine(np.arange(4), ((0, 3), (1, 3)), (room,)), room) is None


def test_without_time_for_orders_and_without_cp_sat_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = one_stage_per_device([(2.0, 3.0, 1.0)] * 2, 2, 2, delay=1.0, tick_s=1.0)
    best = optimum(problem)
    monkeypatch.setattr(deciding, "ORDERS_SHARE", 0.0)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    assert verdict(problem, best).starts is None
    assert verdict(problem, best).bound is None
