"""Runs the cases of a suite, each in a fresh process, and makes a row of each."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.cases import SHORT_LIMIT_S, Case, load_suite
from benchmarks.machine import machine
from parplan.errors import InputError

KEYS = (
    "suite",
    "case",
    "status",
    "value",
    "bound",
    "gap",
    "reference",
    "reference_source",
    "seconds",
    "time_limit_s",
    "compile_seconds",
    "peak_mib",
    "solver",
    "versions",
    "machine",
    "date",
    "plan",
    "details",
)
"""Every row has all of them; what is not known is null.

``status`` is ``optimal`` or ``feasible`` (of a checked plan), ``measured`` (nothing was planned),
``refused`` (the check found violations), ``failed``, or ``not run`` (with the reason in details).
"""

GRACE_S = 600.0
"""How far a process may go beyond its time limit (to build, write and check) before it is ended."""


@frozen
class Selection:
    """What to run: cases by glob, and where things are."""

    pattern: str = "*"
    time_limit_s: float | None = None
    data: Path | None = None
    plans: Path = Path("build/benchmarks")
    short: bool = False


def run_suite(suite: str, selection: Selection) -> Iterator[dict[str, Any]]:
    """Yield one row per case, and one per family that lacks its data.

    Raises
    ------
    InputError
        If no case of the suite matches.
    """
    chosen = [
        case
        for case in load_suite(suite, selection.data)
        if fnmatch.fnmatchcase(case.name, selection.pattern) and (case.short or not selection.short)
    ]
    if not chosen:
        raise InputError(f"no case of suite '{suite}' matches '{selection.pattern}'")
    missing: set[str] = set()
    for case in chosen:
        reason = _missing(case, selection.data)
        if reason is None:
            yield run_case(suite, case, selection)
        elif case.family not in missing:
            missing.add(case.family)
            row: dict[str, Any] = dict.fromkeys(KEYS)
            row.update(suite=suite, case=f"{case.family}/*", status="not run")
            yield {**row, "details": {"reason": reason}}


def _missing(case: Case, data: Path | None) -> str | None:
    """Return why a case cannot run, None if it can."""
    if not case.needs:
        return None
    if data is None:
        return f"it needs '{case.needs}' of the public data; name their folder with --data"
    return None if (data / case.needs).exists() else f"'{data / case.needs}' does not exist"


def run_case(suite: str, case: Case, selection: Selection) -> dict[str, Any]:
    """Return the row of one case, run in a process of its own."""
    limit = selection.time_limit_s or (SHORT_LIMIT_S if selection.short else case.time_limit_s)
    plan = selection.plans / suite / f"{case.name}.json"
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.unlink(missing_ok=True)
    row: dict[str, Any] = dict.fromkeys(KEYS)
    today = datetime.now(UTC).date().isoformat()
    row.update(suite=suite, case=case.name, status="failed", machine=machine())
    row.update(time_limit_s=limit, date=today)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        request = {
            "suite": suite,
            "case": case.name,
            "data": None if selection.data is None else str(selection.data),
            "time_limit_s": limit,
            "plan": str(plan),
            "result": str(result),
        }
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(request)]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit + GRACE_S, check=False
            )
            message = done.stderr.strip()
        except subprocess.TimeoutExpired:
            message = f"still running {GRACE_S:g} s after its limit of {limit:g} s, and was ended"
        row["seconds"] = time.perf_counter() - started
        if result.exists():
            row.update(json.loads(result.read_text(encoding="utf-8")))
        else:
            row["details"] = {"reason": message[-2000:] or "its process left nothing"}
    return row
