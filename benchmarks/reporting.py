"""Family report: how long a browser needs to draw the report of a large plan, and how large it is.

The value is the time from opening the file to its first picture, in seconds, as headless Chromium
tells it; a plan of a pipeline with unlimited memory, with its critical path, is what is drawn.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.cases import Case, Context, Outcome
from benchmarks.pipeline_specs import Layout, Pipeline
from parplan.api import load_registry, plan, write_report
from parplan.errors import InputError
from parplan.spec.sections import parse_spec

CHROMIUM = Path("/usr/bin/chromium")

SIZES = {1_000: (4, 84), 10_000: (8, 417), 100_000: (16, 2084)}
"""Devices and microbatches of the pipeline with about so many tasks."""

WANTED_S = 3.0
"""What a reader may be asked to wait for 100,000 tasks."""

DRAWN = re.compile(r'data-drawn="(\d+)"')


def cases(_: Path | None = None) -> tuple[Case, ...]:
    """Return a case for each size."""
    return tuple(
        Case(
            f"report/{tasks}",
            partial(report_case, devices, microbatches),
            time_limit_s=10.0,
            short=tasks == min(SIZES),
        )
        for tasks, (devices, microbatches) in SIZES.items()
    )


def report_case(devices: int, microbatches: int, context: Context) -> Outcome:
    """Return the seconds until the report of a pipeline's plan is drawn."""
    if not CHROMIUM.exists():
        raise InputError(f"{CHROMIUM} is not installed; the report is drawn by it")
    pipeline = Pipeline(
        name="report",
        devices=devices,
        microbatches=microbatches,
        layout=Layout.ONE_WAY,
        forward_s=1.0,
        backward_s=1.0,
        weight_s=1.0,
        delay_s=0.1,
        saved_bytes=2**20,
        released_at_backward=0.5,
        cap_bytes=2**40,
        tick_s=0.1,
        links=True,
    )
    registry = load_registry()
    made = plan(
        parse_spec(json.dumps(pipeline.spec())),
        registry=registry,
        solver="list",
        time_limit_s=context.time_limit_s,
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        page = write_report(made, Path(folder) / "report.html", registry=registry)
        written = time.perf_counter() - began
        size = page.stat().st_size
        drawn = drawn_s(page, Path(folder) / "profile")
    schedule = made.schedule
    return Outcome(
        value=drawn,
        reference=WANTED_S,
        reference_source="what a reader may be asked to wait",
        solver="chromium",
        details={
            "tasks": len(schedule.tasks),
            "transfers": len(schedule.transfers),
            "megabytes": size / 1e6,
            "written_s": written,
        },
    )


def drawn_s(page: Path, profile: Path) -> float:
    """Return the seconds from opening a page to its first picture."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={profile}", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = DRAWN.search(done.stdout)
    if found is None:
        raise InputError("the browser drew no timeline", file=str(page))
    return int(found[1]) / 1000
