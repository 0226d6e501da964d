"""Placement: graphs that are no chains, beside published figures and other planners."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.cases import Case

FAMILIES: tuple[str, ...] = (
    "benchmarks.job_shops",
    "benchmarks.mip_forms",
    "benchmarks.optimal_schedules",
    "benchmarks.dnn_partitioning",
    "benchmarks.multimodal",
    "benchmarks.random_dags",
    "benchmarks.operators",
    "benchmarks.solver_races",
    "benchmarks.piper",
)
"""Modules of this suite's families; each has ``cases(data)``."""


def cases(data: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of all families."""
    return tuple(case for name in FAMILIES for case in importlib.import_module(name).cases(data))
