"""Time lags between operators without data, and barriers."""

from __future__ import annotations

import attrs
import pytest

from parplan.checking import check_schedule
from parplan.errors import InputError
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import make_rules
from parplan.schedule import Schedule
from tests.examples import chain, placed, ruled


def loose(microbatches: int = 1) -> Problem:
    """Two operators without a tensor, each on a device of its own."""
    problem = chain(2, devices=2, microbatches=microbatches)
    return attrs.evolve(problem, graph=attrs.evolve(problem.graph, tensors=()))


def amounts(problem: Problem, starts: list[int], registry: Registry) -> list[float | None]:
    schedule = placed(problem, o1="g1")
    tasks = attrs.evolve(schedule.tasks, start=starts)
    shifted = Schedule(problem, tasks, schedule.transfers)
    found = check_schedule(shifted, make_rules(problem, registry))
    assert {v.rule for v in found} <= {"precedence"}
    return [v.amount for v in found]


def test_a_lag_holds_from_end_to_start(registry: Registry) -> None:
    problem = ruled(loose(), "precedence", lags=[{"before": "o0", "after": "o1", "seconds": 2}])
    assert amounts(problem, [0, 3], registry) == []
    assert amounts(problem, [0, 2], registry) == [1.0]


def test_a_lag_may_tie_other_edges_and_be_negative(registry: Registry) -> None:
    lag = {"before": "o0", "after": "o1", "before_edge": "start", "after_edge": "end"}
    problem = ruled(loose(), "precedence", lags=[{**lag, "seconds": -1}])
    assert amounts(problem, [5, 3], registry) == []
    assert amounts(problem, [5, 2], registry) == [1.0]


def test_an_offset_ties_different_microbatches(registry: Registry) -> None:
    lag = {"before": "o0", "after": "o1", "offset": 1}
    problem = ruled(loose(microbatches=2), "precedence", lags=[lag])
    assert amounts(problem, [1, 2, 0, 2], registry) == []
    assert amounts(problem, [1, 2, 0, 1], registry) == [1.0]


def test_a_barrier_ties_every_microbatch_to_every_other(registry: Registry) -> None:
    barrier = {"before": "o0", "after": "o1"}
    problem = ruled(loose(microbatches=2), "precedence", barriers=[barrier])
    assert amounts(problem, [0, 1, 2, 3], registry) == []
    assert amounts(problem, [0, 1, 1, 3], registry) == [1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"lags": [{"before": "o9", "after": "o1"}]},
            r"lags\[0\].before: no operator or module matches 'o9'; known: o0, o1",
        ),
        ({"barriers": [{"before": "o*", "after": "o1"}]}, "operator 'o1', which cannot wait"),
    ],
)
def test_bad_options_are_named(
    options: dict[str, object], message: str, registry: Registry
) -> None:
    with pytest.raises(InputError, match=message):
        make_rules(ruled(loose(), "precedence", **options), registry)
