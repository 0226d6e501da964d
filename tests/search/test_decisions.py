"""Makespans decided one after the other close the gap; what leads nowhere ends."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from parplan import clock
from parplan.graph import Mode, Operator
from parplan.options import SearchOptions
from parplan.plugins.manager import load_registry
from parplan.problem import Problem
from parplan.rules import make_rules
from parplan.scheduling.network import build_network
from parplan.search.bounds import combinatorial_bounds, deciding
from parplan.search.bounds.deciding import Verdict
from parplan.search.decisions import FIRST_S, PARTS, Finding, Narrowing, can_decide
from parplan.search.incumbent import Incumbent
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Finisher, prepare_assignment, schedule_serially
from parplan.search.placing.placement import Placer
from parplan.search.run import Run
from parplan.search.steps import decide_makespans
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
            narrowing.run(executor, clock.now() + 60)
    else:
        narrowing.run(None, clock.now() + 60)
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
    narrowing.run(None, clock.now() + 1e6)
    assert narrowing.question(1e6) is None
    assert narrowing.incumbent.found_by == "serial"


def test_problems_that_are_too_large_are_not_decided() -> None:
    assert can_decide(tight())
    assert not can_decide(one_stage_per_device([(1.0, 1.0, 1.0)] * 4, 400, 4))


def with_modes(problem: Problem, modes: dict[str, Sequence[Mode]]) -> Problem:
    """Return a problem in which operators have other modes, each where the operator runs."""

    def changed(operator: Operator) -> Operator:
        groups = operator.modes[0].groups
        own = modes.get(operator.name, operator.modes)
        return attrs.evolve(operator, modes=tuple(attrs.evolve(m, groups=groups) for m in own))

    operators = tuple(changed(operator) for operator in problem.graph.operators)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, operators=operators))


def decided_from(problem: Problem, *modes: dict[str, str]) -> Incumbent:
    """Return what the step alone makes of serial schedules in some modes; others are the first."""
    rules = make_rules(problem, REGISTRY)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    incumbent = Incumbent(rules)
    incumbent.add_bounds(combinatorial_bounds(problem, rules))
    run = Run(placer, REGISTRY, SearchOptions(workers=1), incumbent, deadline=math.inf)
    for chosen in modes:
        rows = {}
        for o, operator in enumerate(problem.graph.operators):
            names = [operator.modes[a.mode].name for a in problem.alternatives[o]]
            rows[o, 0] = names.index(chosen.get(operator.name, names[0]))
        candidate = schedule_serially(prepare_assignment(placer, rows))
        assert candidate is not None
        run.take(candidate, "serial")
    decide_makespans(run, clock.now() + 60)
    return incumbent


def test_a_schedule_is_built_in_the_modes_that_were_decided() -> None:
    fast = tight()
    modes = {
        operator.name: [
            Mode("slow", seconds={"*": operator.modes[0].seconds["*"] + 1}),
            Mode("fast", seconds=operator.modes[0].seconds),
        ]
        for operator in fast.graph.operators
    }
    found = decided_from(with_modes(fast, modes), {})
    assert found.values == (optimum(fast),)
    assert found.gap == 0
    assert found.rejected == []


def keeping_and_again() -> tuple[Problem, Problem]:
    """Return a pipeline whose weight passes may do their inputs again, and one where they must."""
    plain = one_stage_per_device([(2.0, 3.0, 2.0)] * 3, 5, 1, delay=1.0, tick_s=1.0)
    graph, modes, longer = plain.graph, {}, {}
    for stage in range(3):
        forward = graph.operators[graph.operator_index[f"F0.{stage}"]]
        weights = graph.operators[graph.operator_index[f"W0.{stage}"]]
        others = {
            t.name: 0
            for t in graph.tensors
            if t.producer == forward.name and t.name != f"w0.{stage}"
        }
        again = Mode("again", seconds={"*": 3.0}, reads=(f"g0.{stage}",))
        modes |= {
            forward.name: [
                attrs.evolve(forward.modes[0], name="keep"),
                Mode("again", seconds=forward.modes[0].seconds, writes=others),
            ],
            weights.name: [attrs.evolve(weights.modes[0], name="keep"), again],
        }
        longer[weights.name] = [attrs.evolve(again, reads=None)]
    roomy = with_modes(plain, longer)
    tensors = tuple(
        attrs.evolve(t, bytes=0 if t.name.startswith("w") else t.bytes) for t in graph.tensors
    )
    roomy = attrs.evolve(roomy, graph=attrs.evolve(roomy.graph, tensors=tensors))
    return with_modes(plain, modes), roomy


def test_where_the_fastest_modes_do_not_fit_others_are_decided() -> None:
    problem, roomy = keeping_and_again()
    everywhere = {f"{kind}0.{stage}": "again" for kind in "FW" for stage in range(3)}
    found = decided_from(problem, {}, everywhere)
    assert found.values == (optimum(roomy),)
    assert found.found_by == "decided makespans"
    assert found.bound is not None
    assert found.bound.value <= found.values[0]
