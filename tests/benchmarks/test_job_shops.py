"""Published job shops: what is planned, beside whom, and how the page says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cases import Context
from benchmarks.job_shops import (
    PLANNERS,
    beside,
    best_known,
    cases,
    instance,
    job_shop_case,
    raw_cp_sat,
)
from benchmarks.report_details import detail_tables
from parplan.errors import InputError
from parplan.options import SearchOptions

TWO_JOBS = [[(0, 3), (1, 2)], [(0, 2), (1, 4)]]
"""Job 1 first: machine 0 is busy 0-2-5, machine 1 2-6-8; job 0 first ends at 9."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder of public data with two instances of one small job shop."""
    folder = tmp_path / "jsplib"
    folder.mkdir()
    (folder / "two").write_text("2 2\n0 3 1 2\n0 2 1 4\n")
    entries = [
        {"name": "la99", "path": "two", "optimum": 8},
        {"name": "swv99", "path": "two", "optimum": None, "bounds": {"upper": 9, "lower": 7}},
    ]
    (folder / "instances.json").write_text(json.dumps(entries))
    return tmp_path


def test_cases_are_the_instances_of_the_sets(library: Path) -> None:
    assert [case.name for case in cases(library)] == ["jobshop/la99"]
    assert [case.name for case in cases(None)] == ["jobshop/ft06", "jobshop/la01"]


def test_a_reference_is_the_optimum_or_the_best_known(library: Path) -> None:
    context = Context(library, 1.0)
    assert best_known(instance("la99", context)) == 8
    assert best_known(instance("swv99", context)) == 9
    with pytest.raises(InputError, match="has no instance 'ft00'"):
        instance("ft00", context)


@pytest.mark.parametrize("title", PLANNERS)
def test_every_planner_proves_two_jobs(title: str) -> None:
    planner, package, _ = PLANNERS[title]
    pytest.importorskip(package)
    found = beside(planner, TWO_JOBS, SearchOptions(time_limit_s=30.0, workers=1))
    assert found["value"] == found["bound"] == 8


def test_a_missing_planner_is_told_and_the_rest_compared(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANNERS, "absent", (raw_cp_sat, "no_such_package", "not installed: ..."))
    outcome = job_shop_case("la99", Context(library, 30.0))
    assert outcome.plan is not None
    assert outcome.plan.status == "optimal"
    assert outcome.plan.value == outcome.reference == 8.0
    assert outcome.details["planners"]["absent"] == {"missing": "not installed: ..."}
    row = {"value": 8.0, "bound": 8.0, "reference": 8.0, "details": outcome.details}
    (text,) = detail_tables([row])
    assert "| raw CP-SAT | 1 | 1 | 0.00% | 0.00% |" in text
    assert "| absent | 0 | 0 |  |  |" in text
