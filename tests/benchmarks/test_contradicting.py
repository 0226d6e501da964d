"""Claims of searches beside full enumeration: none is wrong, and wrong ones are seen."""

from __future__ import annotations

import json
from random import Random

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.contradicting import LIMIT_S, Truth, compare, in_this_process
from benchmarks.small_problems import TINY, draw_problem
from parplan.declarations import Apart
from parplan.registry import Registry
from tests.compiling import once_compiled
from tests.differential.solving import with_declared
from tests.examples import chain


@pytest.mark.slow
def test_nothing_contradicts_full_enumeration() -> None:
    """The command judges 10,000 problems unless told otherwise; here a few."""
    command = ["contradict", "--cases", "6", "--seed", "3"]
    result = once_compiled(lambda: CliRunner().invoke(main, command), limit_s=10.0)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["contradictions"] == []
    assert found["problems"] == 6
    assert {way["claims"] for way in found["ways"].values()} == {6}


def test_problems_follow_from_their_seed_alone() -> None:
    drawn = [draw_problem(Random("5/7"), TINY) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert draw_problem(Random("5/8"), TINY) != drawn[0]


@pytest.mark.parametrize(
    ("truth", "told"),
    [(5.0, ""), (6.0, "the least is 6"), (4.0, "a plan takes 4"), (None, "there is none")],
)
def test_a_claim_that_is_wrong_is_told(registry: Registry, truth: float | None, told: str) -> None:
    """Two operators of 1 s and a transfer of 3 s, on devices that only one of them may use."""
    problem = chain(2, devices=2, size=3)
    rules = with_declared(problem, registry, [Apart(("o0", "o1"))])
    here = in_this_process(registry)
    claim = Truth(truth, "somebody")
    found = once_compiled(lambda: compare(problem, rules, here, "highs", claim), LIMIT_S)
    assert found.proven
    assert told in found.contradiction
    assert bool(told) == bool(found.contradiction)
