"""Runs with a time limit where nothing is compiled yet: the first one may be all compilation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

RUNS = 5
"""Runs that are repeated at most, so that a slow machine ends, too."""


def once_compiled(run: Callable[[], T], limit_s: float) -> T:
    """Return the result of a run that kept its limit, give or take as much again and a second."""
    for _ in range(RUNS):
        begun = time.monotonic()
        result = run()
        if time.monotonic() - begun <= 2 * limit_s + 1.0:
            break
    return result
