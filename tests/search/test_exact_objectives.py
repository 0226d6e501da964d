"""Exact solving of objectives that are no multiple of their expression, or have none."""

from __future__ import annotations

import attrs
import pytest

from parplan.checking import check_plan
from parplan.options import SearchOptions
from parplan.plans import Plan
from parplan.problem import Problem, Rule
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.search.orchestrator import search
from tests.examples import block, chain


def plan(problem: Problem, registry: Registry, *objectives: str) -> Plan:
    problem = attrs.evolve(problem, objectives=tuple(Rule(name) for name in objectives))
    options = SearchOptions(solver="cp-sat", time_limit_s=10.0)
    found = search(problem, make_rules(problem, registry), registry, options)
    assert check_plan(found, registry) == ()
    return found


def test_throughput_is_proven_in_its_own_unit(registry: Registry) -> None:
    """Two devices, four operators of 1 s: no cut can give less than 2 s to both devices."""
    found = plan(chain(4, devices=2, microbatches=2, size=0), registry, "throughput")
    assert found.objectives["throughput"] == pytest.approx(0.5)
    assert found.bound is not None
    assert found.bound.value == pytest.approx(0.5)
    assert found.status == "optimal"


def test_utilization_is_proven_in_its_own_unit(registry: Registry) -> None:
    """Three layers in turn: one device alone works at its peak, half of what two could do."""
    found = plan(block(1, devices=2), registry, "utilization")
    assert found.objectives["utilization"] == pytest.approx(0.5)
    assert found.bound is not None
    assert found.bound.value == pytest.approx(0.5)


def test_a_later_objective_keeps_what_the_first_reached(registry: Registry) -> None:
    found = plan(block(1, devices=2, microbatches=2), registry, "utilization", "traffic")
    alone = plan(block(1, devices=2, microbatches=2), registry, "makespan", "traffic")
    assert found.schedule.makespan == alone.schedule.makespan
    assert found.objectives["traffic"] == alone.objectives["traffic"]


def test_an_objective_without_an_expression_gets_no_bound_from_the_solver(
    registry: Registry,
) -> None:
    found = plan(block(2, devices=2, microbatches=2), registry, "peak-memory")
    assert found.bound is not None
    assert not found.bound.claimed
    assert found.bound.value <= found.value
