"""Merged schedules expand to valid ones that are no longer, and so do tightened ones."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.declarations import Apart, Declaration, Forbidden, Resident, Resource, Together
from parplan.errors import InfeasibleError
from parplan.graph import Kind
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.search.improving.improvement import rule_portfolio
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.coarsening import can_merge, coarsen
from parplan.search.placing.evaluation import Finisher, prepare, schedule_by_rule, schedule_serially
from parplan.search.placing.placement import Placement, Placer
from tests.differential.generators import declarations, examples, small_problems
from tests.differential.solving import with_declared
from tests.examples import chain
from tests.search.drawing import pipeline_problems
from tests.search.pipelines import even_pipeline
from tests.strategies import problems

QUIET = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def _without_placement(rules: Rules) -> Rules:
    """The rules that a schedule of any placement must obey."""
    kept = (d for d in rules.declared if not isinstance(d.what, Forbidden | Together | Apart))
    return attrs.evolve(rules, declared=tuple(kept))


def drawn_placement(placer: Placer, chance: random.Random) -> Placement:
    """A device for each block, often the same for all groups."""
    rows = [
        tuple(chance.choice(sorted(devices)) for devices in placer.devices_of[0])
        for _ in range(placer.problem.workload.group_count)
    ]
    return tuple(rows) if chance.random() < 0.5 else (rows[0],) * len(rows)


def check_expansions(problem: Problem, rules: Rules, chance: random.Random) -> None:
    """Schedule a placement by some rules; expanded and tightened schedules must hold."""
    try:
        assume(all(rules.allowed))
    except InfeasibleError:
        return
    placer = Placer(problem, rules, find_blocks(problem, rules))
    assume(all(placer.devices_of[0]))
    modes = {b: chance.randrange(2) for b in range(len(placer.blocks))}
    try:
        prepared = prepare(
            placer,
            drawn_placement(placer, chance),
            modes if chance.random() < 0.5 else None,
            split_weights=chance.random() < 0.5,
        )
    except InfeasibleError:
        return
    found = [schedule_by_rule(prepared, rule) for rule in chance.sample(rule_portfolio(), 2)]
    judged = _without_placement(rules)
    for candidate in (*found, schedule_serially(prepared)):
        if candidate is not None:
            expanded = Finisher(placer).expand(candidate)
            assert check_schedule(expanded, judged) == ()
            assert expanded.makespan <= candidate.makespan
            finished = Finisher(placer).finish(candidate)
            assert check_schedule(finished, judged) == ()
            assert finished.makespan <= expanded.makespan


@settings(max_examples=examples(120), suppress_health_check=QUIET)
@given(problem=pipeline_problems(), seed=st.integers(0, 999))
def test_schedules_of_merged_pipelines_expand(
    problem: Problem, seed: int, registry: Registry
) -> None:
    check_expansions(problem, make_rules(problem, registry), random.Random(seed))


@settings(max_examples=examples(100), suppress_health_check=QUIET)
@given(
    data=st.data(),
    problem=st.one_of(pipeline_problems(3), small_problems(5, 3, 12), problems()),
    seed=st.integers(0, 999),
)
def test_schedules_under_declared_rules_expand(
    data: st.DataObject, problem: Problem, seed: int, registry: Registry
) -> None:
    rules = with_declared(problem, registry, data.draw(declarations(problem)))
    check_expansions(problem, rules, random.Random(seed))


def test_a_cycle_of_parts_is_refused(registry: Registry) -> None:
    problem = chain(3)
    assignment = {(o, 0): 0 for o in range(3)}
    rules = make_rules(problem, registry)
    assert coarsen(problem, rules, assignment, [[0, 2], [1]]) is None
    merged = coarsen(problem, rules, assignment, [[0, 1], [2]])
    assert merged is not None
    assert [o.name for o in merged.problem.graph.operators] == ["o0 .. o1", "o2"]


@pytest.mark.parametrize(("resource", "merges"), [("memory", True), ("tensors", False)])
def test_what_counts_tensors_without_workspace_is_not_merged(
    resource: str, merges: bool, registry: Registry
) -> None:
    problem = chain(3)
    device = attrs.evolve(problem.cluster.devices[0], memory_bytes=100)
    problem = attrs.evolve(problem, cluster=attrs.evolve(problem.cluster, devices=(device,)))
    extra: list[Declaration] = []
    if resource == "tensors":
        extra.append(Resource("tensors", 5.0, [Resident("g0")]))
    assert can_merge(with_declared(problem, registry, extra)) is merges


def test_parts_of_one_chunk_and_kind_merge(registry: Registry) -> None:
    problem = even_pipeline(4, 2, 2)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    coarse = prepare(placer, ((0, 0, 1, 1),)).coarse
    kinds = [o.kind for o in coarse.problem.graph.operators]
    assert sorted(kinds) == sorted([Kind.FORWARD, Kind.BACKWARD_INPUT, Kind.BACKWARD_WEIGHT] * 2)
    fine = prepare(placer, ((0, 0, 1, 1),), split_weights=True).coarse
    assert len(fine.members) == 8
