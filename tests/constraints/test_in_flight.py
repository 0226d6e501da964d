"""Caps on the microbatches that a stage has under way."""

from __future__ import annotations

import attrs
import pytest

from parplan.api import check, plan
from parplan.constraints.in_flight import InFlight
from parplan.declarations import Held, Resource
from parplan.errors import InputError
from parplan.problem import Problem
from tests.examples import chain, ruled
from tests.search.pipelines import even_pipeline


def _pipeline(microbatches: int = 4) -> Problem:
    pin = {f"stages.{s}": (f"g{s}",) for s in range(2)}
    return ruled(even_pipeline(2, 2, microbatches), "placement", pin=pin)


def test_a_stage_is_held_from_its_first_operator_to_its_last() -> None:
    declared = list(InFlight({"stages.*": 2}).declare(_pipeline()))
    assert declared == [
        Resource("microbatches in flight on stages.0", 2, (Held("f0", "w0"),)),
        Resource("microbatches in flight on stages.1", 2, (Held("f1", "w1"),)),
    ]


@pytest.mark.parametrize(("limit", "makespan"), [(4, 13.0), (2, 13.0), (1, 20.0)])
def test_a_cap_of_one_costs_time(limit: int, makespan: float) -> None:
    """Unit passes: two under way are as good as any, as for ZB-H1; one alone takes 5 each."""
    problem = ruled(_pipeline(), "in-flight", limits={"stages.0": limit})
    found = plan(problem, time_limit_s=20.0)
    assert (found.status, found.value) == ("optimal", makespan)


def test_the_check_counts_what_is_under_way() -> None:
    loose = plan(_pipeline(), time_limit_s=10.0)
    strict = ruled(_pipeline(), "in-flight", limits={"stages.0": 1})
    schedule = attrs.evolve(loose.schedule, problem=strict)
    violations = check(attrs.evolve(loose, problem=strict, schedule=schedule))
    assert {v.rule for v in violations} == {"in-flight"}
    assert "microbatches in flight on stages.0" in violations[0].message


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"stages.0": 0}, "room for at least 1"),
        ({"stages.9": 1}, "no operator or module matches 'stages.9'"),
    ],
)
def test_bad_limits_are_named(limits: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(InFlight(limits).declare(_pipeline()))


def test_a_stage_needs_a_first_and_a_last_operator() -> None:
    problem = chain(2)
    operators = tuple(attrs.evolve(o, module="m") for o in problem.graph.operators)
    loose = attrs.evolve(problem.graph, operators=operators, tensors=())
    with pytest.raises(InputError, match="'m' has no single first and last operator"):
        list(InFlight({"m": 1}).declare(attrs.evolve(problem, graph=loose)))
