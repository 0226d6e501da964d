"""The load of the busiest engine or link against the definition, counted by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parplan.checking import check_schedule
from parplan.objectives.steady_state import SteadyState
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.evaluation import prepare_assignment, schedule_serially
from parplan.search.placing.placement import Placer
from parplan.steady_state import Place, loads
from tests.examples import chain, placed
from tests.search.partitioning.tiny import (
    Homes,
    all_homes,
    is_row,
    least_seconds,
    seconds_per_sample,
    tiny_problem,
)


def scheduled(problem: Problem, homes: Homes, registry: Registry) -> Schedule:
    """Return a schedule, one activity after another, with operators on given devices."""
    rules = make_rules(problem, registry)
    index = problem.cluster.device_index
    assignment = {
        (o, 0): next(
            row
            for row, alternative in enumerate(problem.alternatives[o])
            if alternative.devices == (index[homes[operator.name]],)
        )
        for o, operator in enumerate(problem.graph.operators)
    }
    prepared = prepare_assignment(Placer(problem, rules, find_blocks(problem, rules)), assignment)
    found = schedule_serially(prepared)
    assert found is not None
    return prepared.network.schedule(found.starts.tolist())


def test_the_busiest_engine_or_link_sets_the_pace() -> None:
    problem = chain(2, devices=2, microbatches=2, seconds=2.0, size=3)
    schedule = placed(problem, o1="g1")
    # Each device works 2 s per microbatch; the link carries 3 bytes at 1 B/s.
    assert SteadyState().value(schedule) == pytest.approx(3.0)
    load = loads(schedule, SteadyState().loading())
    assert load == {Place(0, "compute"): 2.0, Place(1, "compute"): 2.0, Place(0): 3.0}
    assert SteadyState().bound(problem) == pytest.approx(2.0)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), once=st.booleans())
def test_the_value_is_the_load_by_definition(registry: Registry, seed: int, once: bool) -> None:
    problem = tiny_problem(seed, leaves_once=once, contiguous=True)
    homes = random.Random(seed).choice(list(all_homes(problem)))
    schedule = scheduled(problem, homes, registry)
    objective = SteadyState(leaves_once=once)
    assert objective.value(schedule) == pytest.approx(seconds_per_sample(problem, homes))
    bound = objective.bound(problem)
    assert bound is not None
    assert bound <= least_seconds(problem) * (1 + 1e-9)
    # The checker knows when tensors of one pass go round among devices, and complains of that only.
    wrong = check_schedule(schedule, make_rules(problem, registry))
    assert {v.rule for v in wrong} == (set() if is_row(problem, homes) else {"placement"})
    assert all("go round" in v.message for v in wrong)
