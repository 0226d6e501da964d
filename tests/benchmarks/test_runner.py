"""The benchmark runner: every key in every row, missing data listed, figures from checked plans."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.cases import Case, Context, Outcome, beside_hand_made, load_suite
from benchmarks.runner import KEYS, Selection, run_case, run_suite
from parplan.api import load_registry, plan
from parplan.errors import InputError
from parplan.plan_files.plan_file import load_plan
from parplan.spec.sections import parse_spec

SPEC = """
name: two
model:
  operators:
    - {name: first, seconds: 2 ms}
    - {name: second, seconds: 3 ms}
  tensors:
    - {name: hidden, producer: first, consumers: [second], bytes: 1 MB}
cluster:
  devices:
    - {name: gpu, kind: gpu, memory_bytes: 1 GB}
"""

PIPELINE = """
name: pipeline
model:
  kind: stages
  options:
    stages: 4
    forward_s: [1 ms, 1 ms, 1 ms, 2 ms]
    backward_s: 2 ms
    boundary_bytes: 1 MB
cluster:
  devices: [{name: "gpu{}", count: 2, node: a, memory_bytes: 8 GB}]
  intra: {preset: nvlink4}
workload: {kind: training, microbatches: 4}
"""

SUITE = "tests.benchmarks.test_runner"


def _plan(context: Context) -> Outcome:
    registry = load_registry()
    found = plan(parse_spec(SPEC), registry=registry, time_limit_s=context.time_limit_s)
    return Outcome(plan=found, registry=registry, reference=0.005, reference_source="2 + 3 ms")


def _beside_hand_made(context: Context) -> Outcome:
    registry = load_registry()
    found = plan(parse_spec(PIPELINE), registry=registry, time_limit_s=context.time_limit_s)
    return beside_hand_made(found, registry, found.provenance["baselines"], "baselines")


def _fail(context: Context) -> Outcome:
    raise RuntimeError(f"no luck within {context.time_limit_s:g} s")


def _read(context: Context) -> Outcome:
    return Outcome(value=float(context.file("figure.txt").read_text(encoding="utf-8")))


def cases(_: Path | None) -> tuple[Case, ...]:
    """Return a suite of its own, which the worker finds by the name of this module."""
    return (
        Case("tiny/plan", _plan, time_limit_s=5.0, short=True),
        Case("pipeline/beside", _beside_hand_made, time_limit_s=60.0),
        Case("broken/raises", _fail),
        Case("data/figure", _read, needs="figure.txt"),
        Case("data/another", _read, needs="figure.txt"),
    )


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that are started find this module."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


def _run(tmp_path: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    given = [SUITE, "--plans", str(tmp_path / "plans"), *arguments]
    result = CliRunner().invoke(main, given)
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return result.exit_code, rows


def test_a_planned_case_reports_what_its_plan_file_holds(tmp_path: Path) -> None:
    code, (row,) = _run(tmp_path, "--case", "tiny/*")
    assert code == 0, row
    assert tuple(row) == KEYS
    kept = load_plan(Path(row["plan"]))
    assert (row["value"], row["bound"]) == (kept.value, kept.bound and kept.bound.value)
    assert row["value"] == pytest.approx(0.005)
    assert (row["status"], row["gap"], row["reference"]) == ("optimal", 0.0, 0.005)
    assert row["seconds"] > 0
    assert row["time_limit_s"] == 5.0
    assert abs(date.fromisoformat(row["date"]) - datetime.now(UTC).date()) <= timedelta(days=1)
    assert row["peak_mib"] > 20
    assert row["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_family_without_its_data_is_listed_once_as_not_run(tmp_path: Path) -> None:
    code, (row,) = _run(tmp_path, "--case", "data/*")
    assert code == 0
    assert tuple(row) == KEYS
    assert (row["case"], row["status"]) == ("data/*", "not run")
    assert "--data" in row["details"]["reason"]
    assert all(row[key] is None for key in KEYS[3:-1])


def test_data_are_read_from_the_folder_given(tmp_path: Path) -> None:
    (tmp_path / "figure.txt").write_text("7.5", encoding="utf-8")
    file = tmp_path / "rows.jsonl"
    code, rows = _run(
        tmp_path, "--case", "data/figure", "--data", str(tmp_path), "--json", str(file)
    )
    assert code == 0
    assert [(row["status"], row["value"]) for row in rows] == [("measured", 7.5)]
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows


def test_a_case_that_raises_fails_alone_and_says_why(tmp_path: Path) -> None:
    code, (row,) = _run(tmp_path, "--case", "broken/*", "--time-limit", "3")
    assert code == 1
    assert (row["status"], row["value"]) == ("failed", None)
    assert "no luck within 3 s" in row["details"]["reason"]
    assert tuple(row) == KEYS


def test_the_short_run_takes_short_cases_only(tmp_path: Path) -> None:
    rows = list(run_suite(SUITE, Selection(plans=tmp_path, short=True)))
    assert [row["case"] for row in rows] == ["tiny/plan"]


def test_an_unknown_suite_is_an_error() -> None:
    with pytest.raises(InputError, match="there are: pipelines, placement, real, spine"):
        load_suite("spline")


def test_nothing_that_matches_is_an_error() -> None:
    with pytest.raises(InputError, match="matches 'nothing'"):
        list(run_suite(SUITE, Selection("nothing")))


def test_a_plan_that_breaks_a_rule_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.worker import kept
    from parplan import api
    from parplan.contracts import Violation

    breach = Violation("memory", "gpu", "too much")
    monkeypatch.setattr(api, "check", lambda *_, **__: (breach,))
    row = kept(_plan(Context(None, 5.0)), tmp_path / "plan.json", {})
    assert row["status"] == "refused"
    assert "value" not in row


def test_every_case_of_the_spine_has_a_family_and_a_name_of_its_own() -> None:
    found = load_suite("spine")
    assert len({case.name for case in found}) == len(found)
    families = {case.family for case in found}
    assert families == {"jobshop", "profiles", "demo", "overhead"}
    assert families == {case.family for case in found if case.short}


def test_a_pipeline_stands_beside_the_best_hand_made_schedule(tmp_path: Path) -> None:
    code, (row,) = _run(tmp_path, "--case", "pipeline/*")
    assert code == 0, row
    rows = [b for b in row["details"]["baselines"] if not b["variant"]]
    made = [b["makespan_s"] for b in rows if b["makespan_s"] is not None]
    assert len(made) >= 8
    assert row["reference"] == min(made)
    assert row["bound"] <= row["value"] < row["reference"]


@pytest.mark.slow
def test_our_model_is_as_lean_as_the_hand_written_one(tmp_path: Path) -> None:
    case = next(c for c in load_suite("spine") if c.name == "overhead/100")
    row = run_case("spine", case, Selection(plans=tmp_path))
    details = row["details"]
    assert row["status"] == "measured", details
    assert details["variables"] <= details["hand_written_variables"]
    assert details["constraints"] <= details["hand_written_constraints"]
