"""The step that enumerates: what it proves, and what it leaves alone."""

from __future__ import annotations

import math

import attrs
import pytest

from parplan.options import SearchOptions
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.enumerating import SOURCE, enumerate_schedules
from parplan.search.incumbent import Incumbent
from parplan.search.placing.blocks import find_blocks
from parplan.search.placing.placement import Placer
from parplan.search.run import Run
from tests.search.enumeration.test_delay_graph import diamond, with_devices


def enumerated(problem: Problem, registry: Registry, until: float = math.inf) -> Incumbent:
    """Return what the step alone leaves of a problem."""
    rules = make_rules(problem, registry)
    incumbent = Incumbent(rules)
    placer = Placer(problem, rules, find_blocks(problem, rules))
    run = Run(placer, registry, SearchOptions(workers=1), incumbent, deadline=math.inf)
    enumerate_schedules(run, until)
    return incumbent


def test_it_finds_and_proves_the_optimum_by_itself(registry: Registry) -> None:
    found = enumerated(diamond(), registry)
    assert found.values == (6.0,)
    assert found.gap == 0
    assert found.bound is not None
    assert found.bound.source == found.found_by == SOURCE
    assert found.rejected == []


def test_out_of_time_it_leaves_a_bound(registry: Registry) -> None:
    found = enumerated(diamond(), registry, until=-math.inf)
    assert found.bound is not None
    assert 5 <= found.bound.value <= 6


@pytest.mark.parametrize("what", ["memory", "pins"])
def test_it_leaves_other_problems_alone(what: str, registry: Registry) -> None:
    problem = with_devices(diamond(), memory_bytes=8)
    if what == "pins":
        operators = tuple(
            attrs.evolve(o, modes=(attrs.evolve(o.modes[0], groups=(("d0",),)),))
            for o in diamond().graph.operators
        )
        problem = attrs.evolve(diamond(), graph=attrs.evolve(diamond().graph, operators=operators))
    found = enumerated(problem, registry)
    assert (found.schedule, found.bounds) == (None, [])
