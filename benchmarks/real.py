"""Real models in, real runs out: what is read, what is executed, what people look at."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.cases import Case

FAMILIES: tuple[str, ...] = (
    "benchmarks.emulating",
    "benchmarks.importing",
    "benchmarks.reporting",
    "benchmarks.training_runs",
)
"""Modules of this suite's families; each has ``cases(data)``."""


def cases(data: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of all families."""
    return tuple(case for name in FAMILIES for case in importlib.import_module(name).cases(data))
