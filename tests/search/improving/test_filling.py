"""Weight passes put anew: what comes out fits, and short spans come out where memory allows."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.pipelines.pipeline import PassKind
from parplan.plugins.manager import load_registry
from parplan.problem import Rule
from parplan.rules import make_rules
from parplan.search.improving.filling import filled, filled_candidates
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Prepared, pass_tasks, prepare
from parplan.search.placing.placement import Placer
from parplan.search.sequences.longest_path import earliest_starts, order_fits
from tests.search.pipelines import even_pipeline

REGISTRY = load_registry(installed=False)


def _prepared(
    microbatches: int, memory: int, times: tuple[float, float, float], delay: float = 0.0
) -> Prepared:
    """Four stages on as many devices, to be planned for short spans."""
    problem = even_pipeline(4, 4, microbatches, times, memory=memory, delay=delay)
    problem = attrs.evolve(problem, objectives=(Rule("stage-span"),))
    rules = make_rules(problem, REGISTRY)
    return prepare(Placer(problem, rules, find_blocks(problem, rules)), (tuple(range(4)),))


@settings(max_examples=40, deadline=None)
@given(
    microbatches=st.integers(1, 6),
    memory=st.integers(1, 7),
    times=st.tuples(*[st.integers(1, 4)] * 3),
    delay=st.integers(0, 2),
    budget=st.integers(0, 20),
)
def test_what_is_filled_fits_and_all_else_keeps_its_order(
    microbatches: int, memory: int, times: tuple[int, int, int], delay: int, budget: int
) -> None:
    f, b, w = map(float, times)
    prepared = _prepared(microbatches, memory, (f, b, w), delay)
    view = prepared.view
    start = best_candidate(prepared, rule_portfolio()[:4])
    assert view is not None
    if start is None:
        return
    tasks = pass_tasks(prepared)
    nodes = {int(activity): i for i, activity in enumerate(view.activities)}
    fills = np.zeros(len(nodes), dtype=np.bool_)
    for s in range(4):
        fills[[nodes[task] for row in tasks[s, PassKind.W] for task in row]] = True
    order = view.order(start.starts)
    found = filled(view.machines, order, fills, budget)
    assert found is not None  # one stage after another can always go on: W's give memory back
    assert sorted(found) == sorted(order)
    assert order_fits(view.machines, found)
    assert earliest_starts(view.machines, found) is not None
    assert [i for i in found if not fills[i]] == [i for i in order if not fills[i]]


@pytest.mark.parametrize(
    ("memory", "least"),
    # ZB-H1: 3m + (p - 1)(F + B - W); with memory for 2p - 1 microbatches, ZB-H2: 3m.
    [(4, 27), (5, 26), (6, 25), (7, 24)],
)
def test_spans_fall_from_those_of_h1_to_those_of_h2_as_memory_grows(
    memory: int, least: int
) -> None:
    prepared = _prepared(8, memory, (1.0, 1.0, 1.0))
    start = best_candidate(prepared, rule_portfolio())
    assert start is not None
    assert min(c.figure for c in filled_candidates(prepared, [start.starts])) == least


def test_warm_ups_are_of_pipelines_one_way_alone() -> None:
    def made(placement: tuple[tuple[int, ...], ...], groups: tuple[int, ...]) -> int:
        problem = even_pipeline(2, 2, 4, memory=4, groups=groups)
        rules = make_rules(problem, REGISTRY)
        placer = Placer(problem, rules, find_blocks(problem, rules))
        return len(list(filled_candidates(prepare(placer, placement), [])))

    assert made(((0, 1),), ()) > 0
    # Rows are as long in two directions, but half of their passes run on the other device.
    assert made(((0, 1), (1, 0)), (0, 1, 0, 1)) == 0
