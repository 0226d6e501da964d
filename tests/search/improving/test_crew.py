"""The search on sequences finds what is known to be best, and memory does not stop it."""

from __future__ import annotations

import attrs
import pytest

from parplan import clock
from parplan.checking import check_schedule
from parplan.criteria import Criterion
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.improving.crew import (
    ALIKE,
    CREW,
    candidate_of,
    different,
    improve,
    schedules_by_shares,
    searched_by_sequences,
    sequenced,
    starting_sequences,
)
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Candidate, Finisher, prepare, schedule_by_rule
from parplan.search.placing.placement import Placer
from parplan.search.sequences.annealing import Annealer
from parplan.search.sequences.machines import make_view
from parplan.workload import Workload
from tests.search.pipelines import even_pipeline


def _mirrored(devices: int, microbatches: int, memory: int) -> Problem:
    """Two directions of an even pipeline, microbatches in turn."""
    problem = even_pipeline(devices, devices, microbatches, memory=memory)
    groups = tuple(k % 2 for k in range(microbatches))
    return attrs.evolve(problem, workload=Workload(microbatches=microbatches, groups=groups))


def _searched(problem: Problem, registry: Registry, target: int, seconds: float) -> Candidate:
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    stages = tuple(range(len(problem.cluster.devices)))
    prepared = prepare(placer, (stages, stages[::-1]))
    first = best_candidate(prepared, rule_portfolio()[:3]) or schedules_by_shares(prepared)[0]
    until = clock.now() + seconds
    found = [first, *searched_by_sequences(placer, [first], None, 1, until, 0, target)]
    return min(found, key=lambda c: c.makespan)


@pytest.mark.parametrize(
    ("devices", "microbatches", "memory", "best"),
    # The bound: 3m + p/2 - 1.
    [(4, 10, 5, 31), (6, 12, 7, 38), (8, 20, 9, 63)],
)
def test_two_directions_meet_the_bound(
    devices: int, microbatches: int, memory: int, best: int, registry: Registry
) -> None:
    problem = _mirrored(devices, microbatches, memory)
    assert _searched(problem, registry, best, 20.0).makespan == best


def test_shares_fit_wherever_one_microbatch_of_each_chain_does(registry: Registry) -> None:
    problem = _mirrored(6, 12, 2)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    stages = tuple(range(6))
    found = schedules_by_shares(prepare(placer, (stages, stages[::-1])))
    assert found
    assert [c.figure for c in found] == sorted(c.figure for c in found)


def test_no_stage_idles_within_its_span_where_memory_allows(registry: Registry) -> None:
    # ZB-H2: with memory for 2p - 1 microbatches the longest span is the work, 3m.
    problem = even_pipeline(4, 4, 8, memory=7)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    prepared = prepare(placer, (tuple(range(4)),))
    start = best_candidate(prepared, rule_portfolio())
    view = make_view(prepared.network, prepared.scheduler.tables)
    assert start is not None
    assert view is not None
    annealer = Annealer(view, Criterion.LONGEST_SPAN)
    assert annealer.run(view.order(start.starts), 20.0, 0, target=24).figure == 24


def test_stages_of_one_device_are_searched_joined_and_apart(registry: Registry) -> None:
    problem = even_pipeline(4, 2, 4, memory=8)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    vee = ((0, 1, 1, 0),)
    rule = rule_portfolio()[0]
    candidates = [
        schedule_by_rule(prepare(placer, vee, stage_of_block=stages), rule)
        for stages in ((), (0, 1, 2, 3))
    ]
    found = list(starting_sequences(placer, [c for c in candidates if c is not None]))
    assert {len(set(c.prepared.stage_of_block)) for c in found} == {3, 4}
    for candidate in found:
        better = candidate_of(placer, improve(placer, sequenced(candidate), 0.2, 0, 0))
        assert better.figure <= candidate.figure
        assert not check_schedule(Finisher(placer).finish(better), rules)


def test_a_crew_comes_from_several_starts(registry: Registry) -> None:
    problem = even_pipeline(2, 2, 2, memory=4)
    rules = make_rules(problem, registry)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    start = best_candidate(prepare(placer, ((0, 1),)), rule_portfolio()[:1])
    assert start is not None
    first = sequenced(start)
    many = [attrs.evolve(first, figure=10 + k % 3, origin=0) for k in range(6)]
    many += [attrs.evolve(first, figure=20 + k, origin=k) for k in range(1, 6)]
    crew = different(many)
    assert [s.figure for s in crew] == [10, 11, 21, 22]
    assert len(crew) == CREW
    assert [s.origin for s in crew].count(0) == ALIKE
