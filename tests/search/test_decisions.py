"""Makespans decided one after the other close the gap; what leads nowhere ends."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.search.bounds import combinatorial_bounds, deciding
from parplan.search.bounds.deciding import Verdict
from parplan.search.decisions import FIRST_S, PARTS, Finding, Narrowing, can_decide
from parplan.search.incumbent import Incumbent
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher, prepare_assignment, schedule_serially
from parplan.search.placing.placement import Placer
from parplan.search.scheduling.network import build_network
from tests.search.bounds.test_memory import one_stage_per_device, optimum

REGISTRY = load_registry(installed=False)


def narrowing_of(problem: Problem) -> Narrowing:
    """Return one that starts from one microbatch after another and the combinatorial bounds."""
    rules = make_rules(problem, REGISTRY)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare_assignment(placer, {(o, 0): row for o, (row,) in enumerate(rules.allowed)})
    serial = schedule_serially(prepared)
    assert serial is not None
    incumbent = Incumbent(rules)
    assert incumbent.offer(Finisher(placer).expand(serial), "serial")
    incumbent.add_bounds(combinatorial_bounds(problem, rules))
    network = build_network(problem, rules, prepared.coarse.fine_assignment)
    return Narrowing(network, rules, incumbent, 0.0)


def tight() -> Problem:
    """Memory and delays, whose optimum is above the combinatorial bounds."""
    times = [(2.0, 3.0, 2.0), (4.0, 1.0, 3.0), (2.0, 3.0, 1.0)]
    return one_stage_per_device(times, 4, 2, delay=2.0, tick_s=1.0)


@pytest.mark.parametrize("beside", [False, True])
def test_the_gap_of_a_small_pipeline_is_closed(beside: bool) -> None:
    problem = tight()
    narrowing = narrowing_of(problem)
    assert narrowing.incumbent.gap > 0.1
    if beside:
        narrowing.workers = 2
        with ThreadPoolExecutor(2) as executor:
            narrowing.run(executor, time.monotonic() + 60)
    else:
        narrowing.run(None, time.monotonic() + 60)
    assert narrowing.incumbent.gap == 0.0
    assert narrowing.incumbent.values[0] == optimum(problem)
    assert narrowing.incumbent.found_by == "decided makespans"
    assert not narrowing.incumbent.rejected
    assert not narrowing.incumbent.failures
    assert narrowing.question(60.0) is None


def test_open_questions_lead_to_other_makespans_and_more_time() -> None:
    narrowing = narrowing_of(tight())
    low, high = narrowing.incumbent.bound, narrowing.incumbent.values[0]
    assert low is not None
    asked = []
    for _ in range(2 * len(PARTS)):
        question = narrowing.question(1e6)
        assert question is not None
        asked.append((question.makespan, question.seconds))
        narrowing.take(question, Finding(Verdict(), question.seconds))
    makespans = [low.value + part * (high - low.value) for part in PARTS]
    assert asked == [
        *((makespan, FIRST_S) for makespan in makespans),
        *((makespan, 2 * FIRST_S) for makespan in makespans),
    ]
    last = narrowing.question(5.0)
    assert last is not None
    assert last.seconds == 5.0


def test_what_gives_up_at_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    monkeypatch.setattr(deciding, "ORDERS_SHARE", 0.0)
    narrowing = narrowing_of(tight())
    narrowing.run(None, time.monotonic() + 1e6)
    assert narrowing.question(1e6) is None
    assert narrowing.incumbent.found_by == "serial"


def test_problems_that_are_too_large_are_not_decided() -> None:
    assert can_decide(tight())
    assert not can_decide(one_stage_per_device([(1.0, 1.0, 1.0)] * 4, 400, 4))
