"""Bounds of the longest span: no schedule is below them, and tight memory is seen."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.options import SearchOptions
from parplan.plugins.manager import load_registry
from parplan.problem import Problem, Rule
from parplan.rules import make_rules
from parplan.search.bounds import span_bounds
from parplan.search.improving.filling import filled_candidates
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.orchestrator import search
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import prepare
from parplan.search.placing.placement import Placer
from tests.search.pipelines import even_pipeline

REGISTRY = load_registry(installed=False)


def _for_spans(problem: Problem) -> Problem:
    """The problem with each stage on a device of its own, and the longest span to be minimised."""
    pins = {"pin": {f"stages.{d}": [f"g{d}"] for d in range(len(problem.cluster.devices))}}
    rules = (*problem.constraints, Rule("placement", pins))
    return attrs.evolve(problem, constraints=rules, objectives=(Rule("stage-span"),))


def _bound(problem: Problem) -> int:
    rules = make_rules(problem, REGISTRY)
    return max(ticks for _, ticks in span_bounds(problem, rules))


@settings(max_examples=30, deadline=None)
@given(
    devices=st.integers(2, 4),
    microbatches=st.integers(1, 6),
    memory=st.integers(1, 6),
    times=st.tuples(*[st.integers(1, 4)] * 3),
    delay=st.integers(0, 2),
)
def test_no_schedule_is_below(
    devices: int, microbatches: int, memory: int, times: tuple[int, int, int], delay: int
) -> None:
    f, b, w = map(float, times)
    problem = _for_spans(
        even_pipeline(devices, devices, microbatches, (f, b, w), memory=memory, delay=delay)
    )
    rules = make_rules(problem, REGISTRY)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare(placer, (tuple(range(devices)),))
    best = best_candidate(prepared, rule_portfolio())
    assert best is not None
    bound = _bound(problem)
    assert bound >= microbatches * sum(times)
    for candidate in (best, *filled_candidates(prepared, [best.starts])):
        assert candidate.figure >= bound


@pytest.mark.parametrize(
    ("memory", "least"),
    # ZB-H1: 3m + (p - 1)(F + B - W); ZB-H2 with memory for 2p - 1: 3m.
    [(4, 27), (7, 24)],
)
def test_memory_of_published_schedules_is_proven_to_need_their_spans(
    memory: int, least: int
) -> None:
    problem = _for_spans(even_pipeline(4, 4, 8, memory=memory))
    assert _bound(problem) == least
    options = SearchOptions(time_limit_s=30.0, workers=1)
    plan = search(problem, make_rules(problem, REGISTRY), REGISTRY, options)
    assert plan.status == "optimal"
    assert plan.objectives["stage-span"] == least


def test_two_stages_agree_with_the_whole_model() -> None:
    problem = _for_spans(even_pipeline(2, 2, 3, (2.0, 3.0, 1.0), memory=2, delay=1.0))
    rules = make_rules(problem, REGISTRY)
    options = SearchOptions(time_limit_s=30.0, workers=1, solver="cp-sat")
    plan = search(problem, rules, REGISTRY, options)
    assert plan.status == "optimal"
    assert _bound(problem) <= plan.objectives["stage-span"]
