"""Claims beside each other: none is wrong of small problems, and wrong ones are seen."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import contradicting
from benchmarks.__main__ import main
from benchmarks.claims import LEVELS, MODELS, SEARCHES, Claim, in_this_process
from benchmarks.contradicting import (
    ENUMERATION,
    contradictions,
    draw,
    judge,
    make_claims,
    read_rows,
    summary,
    ways_of,
)
from benchmarks.small_kinds import KINDS
from parplan.registry import Registry
from parplan.rules import make_rules
from tests.examples import chain, ruled


@pytest.mark.slow
def test_nothing_contradicts_full_enumeration_or_another_solver(tmp_path: Path) -> None:
    """The command judges 10,000 problems unless told otherwise; here one of each kind."""
    file = tmp_path / "rows.jsonl"
    cases = len(KINDS)
    command = ["contradict", "--cases", str(cases), "--seed", "3", "--json", str(file)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["contradictions"], found["faults"]) == ([], [])
    assert found["all"]["problems"] == cases
    assert found["all"].get("undecided", 0) <= 1
    assert all(found[kind]["problems"] == 1 for kind in KINDS)
    assert len(read_rows(file)) == cases


def test_problems_follow_from_their_seed_alone() -> None:
    for number in range(len(KINDS)):
        assert draw(5, number) == draw(5, number)
        assert draw(5, number) != draw(6, number)


def test_every_kind_meets_every_search_model_and_loop() -> None:
    asked = [ways_of(number) for number in range(0, 21 * len(KINDS), len(KINDS))]
    assert {way for ways in asked for way in ways} == {*SEARCHES, *MODELS, *LEVELS}
    assert len({(ways[0], ways[-1]) for ways in asked}) == 21


TRUE = Claim(5.0, 5.0, proven=True)


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (Claim(5.0, 5.0, proven=True), []),
        (Claim(6.0, 4.0), []),
        (Claim(), []),
        (Claim(6.0, 6.0, proven=True), ["has a bound of 6", "calls 6 optimal"]),
        (Claim(6.0, 5.5), ["has a bound of 5.5"]),
        (Claim(proven=True), ["says that there is no plan; full enumeration has one of 5"]),
        (
            Claim(4.0),
            ["full enumeration has a bound of 5", "calls 5 optimal; other has a plan of 4"],
        ),
    ],
)
def test_claims_that_cannot_be_true_together_are_told(claim: Claim, told: list[str]) -> None:
    found = list(contradictions({ENUMERATION: TRUE, "other": claim}))
    assert len(found) == len(told)
    assert all(part in text for part, text in zip(told, found, strict=True))


def test_a_plan_where_there_is_none_is_told() -> None:
    found = contradictions({ENUMERATION: Claim(proven=True), "other": Claim(5.0)})
    assert list(found) == ["full enumeration says that there is no plan; other has one of 5"]


@pytest.mark.parametrize(
    ("option", "least"),
    [
        ({}, 2.0),
        ({"apart": (("o0", "o1"),)}, 5.0),
        ({"pin": {"o0": ("g1",)}, "forbid": {"o1": ("g1",)}}, 5.0),
        ({"together": (("o0", "o1"),), "order": (("o0", "o1"),)}, 2.0),
        ({"pin": {"o0": ("g0",), "o1": ("g1",)}, "together": (("o0", "o1"),)}, None),
    ],
)
def test_rules_on_places_are_enumerated_as_they_are_solved(
    registry: Registry, option: dict[str, object], least: float | None
) -> None:
    """Two operators of 1 s, and a transfer of 3 s where they are on two devices."""
    problem = ruled(chain(2, devices=2, size=3), "placement", **option)
    here = in_this_process(registry)
    claims = make_claims(problem, make_rules(problem, here), here, ["model by cp-sat"])
    assert [claim.value for claim in claims.values()] == [least, least]
    assert all(claim.proven for claim in claims.values())


def test_a_process_that_dies_costs_one_problem(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge_or_die(seed: int, number: int, _: Registry) -> contradicting.Row:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"case": f"{seed}/{number}", "kind": "graph", "judged_by": "somebody", "claims": {}}

    monkeypatch.setattr(contradicting, "judge_one", judge_or_die)
    file = tmp_path / "rows.jsonl"
    rows = list(judge(range(3), 0, registry, file))
    assert [row["case"] for row in rows] == ["0/0", "0/1", "0/2"]
    assert "SIGKILL" in rows[1]["faults"]["process"][0]
    assert summary(rows)["all"]["undecided"] == 1
    assert list(judge(range(3), 0, registry, file)) == rows
