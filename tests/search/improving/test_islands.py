"""Path relinking from candidates: better and better schedules of the same placement."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from benchmarks.jobshop import job_shop
from parplan import clock
from parplan.checking import check_schedule
from parplan.criteria import Criterion
from parplan.plugins.manager import load_registry
from parplan.rules import make_rules
from parplan.search.improving.improvement import best_candidate, rule_portfolio
from parplan.search.improving.islands import can_relink, searched_by_relinking
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import Candidate, Finisher, prepare
from parplan.search.placing.placement import Placer
from tests.search.critical_blocks.shops import random_jobs, shortest
from tests.search.pipelines import even_pipeline

REGISTRY = load_registry(installed=False)
LONG_S = 60.0
JOBS = random_jobs(3, 3, 4)


@pytest.fixture(scope="module")
def start() -> tuple[Placer, Candidate]:
    """Return a list schedule of a small shop."""
    problem = job_shop("shop", JOBS)
    rules = make_rules(problem, REGISTRY)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    devices = [
        problem.alternatives[block[0]][rules.allowed[block[0]][0]].devices[0]
        for block in placer.blocks.members
    ]
    prepared = prepare(placer, (tuple(devices),))
    candidate = best_candidate(prepared, rule_portfolio()[:1])
    assert candidate is not None
    return placer, candidate


@pytest.mark.parametrize("workers", [1, 2])
def test_islands_reach_the_optimum_and_their_schedules_hold(
    start: tuple[Placer, Candidate], workers: int
) -> None:
    placer, candidate = start
    best = shortest(JOBS)
    network = candidate.prepared.network
    ends = np.cumsum(network.durations[: len(network.tasks)])
    starts = np.zeros(len(network), dtype=np.int64)
    starts[1 : len(ends)] = ends[:-1]  # one task after another
    late = attrs.evolve(
        candidate, starts=starts, figure=candidate.prepared.scheduler.makespan(starts)
    )
    assert late.figure > best
    deadline = clock.now() + LONG_S
    found = list(searched_by_relinking(placer, [late], None, workers, deadline, 1, best))
    figures = [late.figure, *(c.figure for c in found)]
    assert figures == sorted(set(figures), reverse=True)
    assert found[-1].figure == best
    for better in found:
        schedule = Finisher(placer).finish(better)
        assert check_schedule(schedule, placer.rules) == ()
        assert schedule.makespan == better.figure


def test_pipelines_of_many_microbatches_and_other_figures_are_annealed(
    start: tuple[Placer, Candidate],
) -> None:
    _, candidate = start
    assert can_relink(candidate)
    problem = even_pipeline(3, 3, 6, memory=4)
    rules = make_rules(problem, REGISTRY)
    prepared = prepare(Placer(problem, rules, find_blocks(problem, rules)), ((0, 1, 2),))
    found = best_candidate(prepared, rule_portfolio())
    assert found is not None
    assert prepared.criterion is Criterion.MAKESPAN
    assert not can_relink(found)
