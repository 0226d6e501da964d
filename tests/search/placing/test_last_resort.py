"""Whatever fits at all is found, whatever it takes: no problem that has a plan comes back empty."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from parplan.errors import InfeasibleError, LimitError
from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.scheduling.list_scheduler import Deadlock, arcs_of
from parplan.search.orchestrator import search
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import prepare
from parplan.search.placing.last_resort import fitting_anywhere
from parplan.search.placing.one_by_one import fitting_order, schedule_one_by_one
from parplan.search.placing.placement import Placer
from tests.differential.generators import examples
from tests.differential.solving import UnprovenError, by_cp_sat, optimum
from tests.search.tight import tight_pipelines

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def placer_of(problem: Problem, registry: Registry) -> Placer:
    rules = make_rules(problem, registry)
    return Placer(problem, rules, find_blocks(problem, rules))


@settings(max_examples=examples(60), suppress_health_check=QUIET)
@given(problem=tight_pipelines(2))
def test_an_order_is_found_just_where_some_order_fits(problem: Problem, registry: Registry) -> None:
    """Against all orders of one microbatch."""
    problem = attrs.evolve(problem, workload=attrs.evolve(problem.workload, microbatches=1))
    placer = placer_of(problem, registry)
    try:
        prepared = prepare(placer, ((0,) * len(placer.blocks),), stage_of_block=range(2))
    except InfeasibleError:
        assume(False)
    network, tables = prepared.network, prepared.scheduler.tables
    assume(len(network) <= 7)
    orders = itertools.permutations(range(len(network)))
    runs = (
        prepared.scheduler.run(range(len(order)), arcs_of(itertools.pairwise(order)))
        for order in orders
    )
    fits = any(not isinstance(run, Deadlock) for run in runs)
    event(f"fits: {fits}")
    assert (fitting_order(network, tables) is not None) == fits
    assert (schedule_one_by_one(prepared) is not None) == fits


def is_feasible(problem: Problem, registry: Registry) -> bool:
    """Whether CP-SAT finds a plan of the whole model; what it leaves open is not drawn."""
    try:
        return optimum(make_rules(problem, registry), by_cp_sat, time_limit_s=4.0) is not None
    except UnprovenError:
        assume(False)
        raise


@pytest.mark.slow
@settings(max_examples=examples(10), suppress_health_check=QUIET, deadline=None)
@given(problem=tight_pipelines())
def test_what_a_solver_finds_a_plan_for_is_planned_without_it(
    problem: Problem, registry: Registry
) -> None:
    options = SearchOptions(solver="list", time_limit_s=0.5, workers=1)
    try:
        plan = search(problem, make_rules(problem, registry), registry, options)
    except (LimitError, InfeasibleError):
        event("no plan")
        assert not is_feasible(problem, registry)
    else:
        event("a plan")
        assert plan.provenance["rejected"] == []
        assert plan.provenance["failures"] == []


@settings(max_examples=examples(30), suppress_health_check=QUIET, deadline=None)
@given(problem=tight_pipelines())
def test_one_thing_after_another_fits_where_list_schedules_do(
    problem: Problem, registry: Registry
) -> None:
    options = SearchOptions(solver="list", time_limit_s=0.2, workers=1)
    found = fitting_anywhere(placer_of(problem, registry), float("inf"))
    try:
        search(problem, make_rules(problem, registry), registry, options)
    except (LimitError, InfeasibleError):
        assert found is None
    else:
        assert found is not None
