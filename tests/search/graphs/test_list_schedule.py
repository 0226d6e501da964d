"""List schedules of task graphs: the published example, the plain twin, and exact plans of them."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.errors import InfeasibleError
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.graphs.from_problem import can_be_placed, make_task_graph
from parplan.search.graphs.kernel import NEVER, place_in_order
from parplan.search.graphs.list_schedule import ListSchedules
from parplan.search.graphs.ranks import upward_ranks
from parplan.search.graphs.realisation import realised
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher
from parplan.search.placing.placement import Placer
from tests.search.graphs.heft_example import UPWARD_RANKS, heft_example
from tests.search.graphs.plain_lists import place_plainly, ready_order_plainly
from tests.strategies import problems


def _placer(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


def test_the_published_example_has_its_ranks_and_its_makespan(registry: Registry) -> None:
    """HEFT on figure 1 of Topcuoglu et al. (2002) ends at 80."""
    placer = _placer(heft_example(), registry)
    graph = make_task_graph(placer)
    lists = ListSchedules(graph)
    ranks = upward_ranks(graph)
    assert ranks.tolist() == pytest.approx(UPWARD_RANKS, abs=1e-3)
    placed = lists.in_order(lists.order(-ranks))
    assert placed is not None
    assert placed.makespan == 80
    candidate = realised(placer, graph, placed)
    assert candidate is not None
    assert candidate.makespan == 80
    assert not check_schedule(Finisher(placer).finish(candidate), placer.rules)


@settings(max_examples=80, deadline=None)
@given(problem=problems(gangs=False), seed=st.integers(0, 999))
def test_the_kernel_decides_as_its_plain_twin(
    problem: Problem, seed: int, registry: Registry
) -> None:
    """Orders, devices, starts, arrivals and refusals, with devices given, open and mixed."""
    try:
        placer = _placer(problem, registry)
        feasible = can_be_placed(placer)
    except InfeasibleError:
        return
    if not feasible:
        return
    graph = make_task_graph(placer)
    lists = ListSchedules(graph)
    chance = random.Random(seed)
    position = np.argsort(graph.order)
    priority = np.array([float(chance.randrange(5)) for _ in range(len(graph))])
    order = ready_order_plainly(graph, priority, position)
    assert lists.order(priority).tolist() == order.tolist()
    device = np.array(
        [chance.choice([-1, *np.flatnonzero(row).tolist()]) for row in graph.allowed], np.int64
    )
    lookahead = np.array([[chance.uniform(0, 9) for _ in row] for row in graph.ticks])
    rest = np.array([chance.randrange(9) for _ in range(len(graph))], np.int64)
    toll = chance.choice([0.0, 0.5, 2.0])
    limit = chance.choice([NEVER, chance.randrange(1, 60)])
    twin, own = device.copy(), device.copy()
    plain = place_plainly(graph, order, twin, lookahead, toll, rest, limit)
    compiled = place_in_order(lists.flat, order, own, lookahead, toll, rest, limit)
    assert own.tolist() == twin.tolist()
    for one, other in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(problem=problems(gangs=False))
def test_what_is_realised_passes_the_check(problem: Problem, registry: Registry) -> None:
    """On any problem, and no later than in the task graph where nothing but time is limited."""
    with contextlib.suppress(InfeasibleError):
        placer = _placer(problem, registry)
        if not can_be_placed(placer):
            return
        graph = make_task_graph(placer)
        lists = ListSchedules(graph)
        placed = lists.in_order(lists.order(-upward_ranks(graph)))
        candidate = None if placed is None else realised(placer, graph, placed)
        if candidate is not None:
            assert not check_schedule(Finisher(placer).finish(candidate), placer.rules)
