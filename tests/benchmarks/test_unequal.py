"""Unequal mixes: what differs in each, and a plan beside hand-made schedules."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from benchmarks.cases import Context
from benchmarks.unequal import MIXES, cases, mix_case
from parplan.api import prepare
from parplan.graph import Kind
from parplan.problem import Problem

SMALL = attrs.evolve(MIXES[1], name="small", layers=4, microbatches=8)


def test_six_mixes_and_the_readme() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names)) == 7
    assert {name.partition("/")[0] for name in names} == {"unequal"}


def test_what_differs_in_each(tmp_path: Path) -> None:
    problems = {mix.name: prepare(mix.spec(tmp_path)).problem for mix in MIXES}
    first, second = _forward_ticks(problems["slow-first"])[:2]
    assert first == pytest.approx(3 * second)
    *_, largest_of_a_layer, head = sorted(_forward_ticks(problems["heavy-head"]))
    assert head > 5 * largest_of_a_layer
    assert len({d.kind for d in problems["three-kinds"].cluster.devices}) == 3
    rates = sorted({link.bandwidth for link in problems["slow-link"].cluster.links})
    assert rates[-1] > 50 * rates[0]
    assert len(set(problems["lengths"].workload.scales)) > 10
    slow = [bool(d.slowdown) for d in problems["straggler"].cluster.devices]
    assert sum(slow) == 1


def _forward_ticks(problem: Problem) -> list[int]:
    operators = problem.graph.with_kind(Kind.FORWARD)
    return [problem.ticks(o, problem.alternatives[o][0], 0) for o in operators]


def test_a_plan_stands_beside_the_best_hand_made_schedule() -> None:
    outcome = mix_case(SMALL, Context(None, 20.0))
    assert outcome.plan is not None
    assert outcome.reference is not None
    rows = [row for row in outcome.details["hand_made"] if row["makespan_s"] is not None]
    assert len({row["name"] for row in rows}) >= 8
    own = [row["makespan_s"] for row in rows if not row["variant"]]
    assert outcome.reference == min(own)
    assert outcome.plan.value <= outcome.reference
