"""The page of results: its figures are those of the rows, and nothing that failed vanishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.machine import machine
from benchmarks.report import load_rows, results_page
from benchmarks.report_details import detail_tables
from benchmarks.runner import KEYS
from parplan.errors import InputError


def row(case: str, status: str = "optimal", **figures: Any) -> dict[str, Any]:
    """A row of results; what is not given is null."""
    return {**dict.fromkeys(KEYS), "suite": "s", "case": case, "status": status, **figures}


ROWS = [
    row("a/one", value=10.0, bound=10.0, gap=0.0, reference=12.5, seconds=1.25, peak_mib=99.6,
        solver="list", versions={"parplan": "1"}, date="2026-01-02", time_limit_s=1.0,
        machine={"cpu": "Zen", "cores": 2, "memory_gib": 7.8}),
    row("a/two", "feasible", value=9.0, bound=8.1, gap=0.1, reference=9.0, solver="sequences"),
    row("a/three", "feasible", value=4.0, bound=3.96, gap=0.01, reference=2.0, solver="list"),
    row("a/four", "failed", details={"reason": "Traceback\nMemoryError: no room"}),
    row("b/*", "not run", details={"reason": "'x.csv' does not exist"}),
    {**row("a/one", "confirmed", value=10.0, solver="cp-sat 9"), "suite": "confirm"},
    {**row("a/one", "undecided", value=10.0, solver="highs"), "suite": "confirm"},
    {**row("a/two", "confirmed", value=9.5, solver="of an older plan"), "suite": "confirm"},
]  # fmt: skip

ROBUST = row(
    "robust/one", "feasible", value=2.0, reference=2.5,
    details={
        "robust": {"mean": 2.0, "p95": 2.25},
        "nominal": {"mean": 2.125, "p95": 2.5},
        "1f1b": None,
        "best_hand_made": "zb-h1 on the best split",
        "best_hand_made_mean": 2.5,
    },
)  # fmt: skip
MIXTURE = row(
    "moe/one", "feasible", value=2.0,
    details={
        "schedules": [
            {"schedule": "plan", "split": "", "note": "", "makespan_s": 2.0,
             "exposed_share": 0.125, "bubble": 0.25, "peak_bytes": 3_000_000_000},
            {"schedule": "dualpipe", "split": "best", "note": "does not fit memory"},
        ]
    },
)  # fmt: skip
UNEQUAL = row(
    "unequal/one", "feasible", value=2.0,
    details={
        "hand_made": [
            {"name": "gpipe", "makespan_s": 4.0, "variant": False},
            {"name": "1f1b", "makespan_s": 3.5, "variant": False},
            {"name": "1f1b", "makespan_s": 3.0, "variant": False},
            {"name": "dualpipe", "makespan_s": 2.5, "variant": True},
            {"name": "zb-v", "makespan_s": None, "variant": False},
        ]
    },
)  # fmt: skip


def test_every_row_has_its_line_and_every_family_its_sum() -> None:
    page = results_page(ROWS)
    line = "| one | 10 | 10 | 0.00% | 12.5 | -20.00% | **1.2** | 100 | list | cp-sat 9, "
    assert f"{line}undecided: highs |" in page
    assert "| two | 9 | 8.1 | 10.00% | 9 | = |  |  | sequences |  |" in page
    assert "| three | 4 | 3.96 | 1.00% | 2 | +100.00% |  |  | list |  |" in page
    assert "| [a](#s-a) | 4 | 3 | 1 | 1.00% | 10.00% | 1 | 1 | 1 | 1 |" in page
    assert "| [b](#s-b) | 1 | 0 | 0 |  |  |  |  |  | 0 |" in page
    assert "3 of 4 cases planned, 1 proven optimal." in page
    assert "Gap: median 1.00%, worst 10.00%." in page
    assert "Against 3 references: 1 better, 1 equal, 1 worse (by up to 100.00%)." in page
    assert "- `a/four`: failed: MemoryError: no room" in page
    assert "1 case, none planned." in page
    assert "- `b/*`: not run: 'x.csv' does not exist" in page
    assert "Machine: Zen, 2 cores, 8 GiB." in page
    assert "Versions: parplan 1." in page
    assert "Measured: 2026-01-02." in page
    assert "1 case took longer than the time limit." in page
    assert page.count("## ") == 2


def test_pages_tell_their_size_and_what_they_take() -> None:
    told = {"tasks": 100_032, "transfers": 62_520, "megabytes": 2.47, "written_s": 3.34}
    (text,) = detail_tables([row("report/100000", "measured", value=0.297, details=told)])
    assert "| 100,032 | 62,520 | 2.47 | 3.3 | 0.30 |" in text


def test_details_become_tables_of_their_own() -> None:
    page = results_page([ROBUST, MIXTURE, UNEQUAL])
    assert "hand-made schedule's in 1 of 1." in page
    assert "| one | 2 (2.25) | 2.125 (2.5) | 2.5 | zb-h1 on the best split |" in page
    assert "| plan |  | 2 | 12.50% | 25.00% | 3.0 |" in page
    assert "| dualpipe | best | does not fit memory |  |  |  |" in page
    assert "dualpipe (a variant) 2.5, 1f1b 3, gpipe 4; no schedule by zb-v." in page
    assert "1F1B" not in page.split("## s: moe")[0].split("nominal plan")[1]  # an empty column


def test_the_last_row_of_a_case_counts(tmp_path: Path) -> None:
    files = [tmp_path / "old.jsonl", tmp_path / "new.jsonl"]
    for file, value in zip(files, (5.0, 3.0), strict=True):
        file.write_text(json.dumps(row("a/one", value=value)) + "\n\n")
    assert [found["value"] for found in load_rows(files)] == [3.0]
    assert [found["value"] for found in load_rows(files[::-1])] == [5.0]


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    file, page = tmp_path / "rows.jsonl", tmp_path / "page.md"
    file.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    result = CliRunner().invoke(main, ["report", str(file), "-o", str(page)])
    assert result.exit_code == 0, result.output
    assert page.read_text() == results_page(ROWS)
    assert CliRunner().invoke(main, ["report", str(file)]).output == results_page(ROWS)


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"suite": "s"}', "2: is no row of results; it lacks bound"), ("{", "2: is not JSON")],
)
def test_what_is_no_row_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(row('a/one'))}\n{text}\n")
    with pytest.raises(InputError, match=message):
        load_rows([file])


def test_this_machine_is_described() -> None:
    found = machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0.1
