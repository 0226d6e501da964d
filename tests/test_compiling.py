"""Compiled functions are kept for later processes where they can be, and run where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numba.core.caching import CacheImpl

from parplan import clock
from parplan.clock import CLOCK
from parplan.compiling import compiled, compiling_told

KERNEL = """
from parplan.compiling import compiled


@compiled
def triple(x):
    return 3 * x


print(triple(14), sum(triple.stats.cache_hits.values()))
"""


def test_a_second_process_finds_the_code_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    said = [
        subprocess.run(
            [sys.executable, str(tmp_path / "kernel.py")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["42", "0"], ["42", "1"]]


def test_where_nothing_can_be_written_it_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])

    def triple(x: int) -> int:
        return 3 * x

    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        made = compiled(triple)
    assert made(14) == 42


def test_compiling_takes_no_time_on_the_clock_and_is_told_once() -> None:
    def inner(x: int) -> int:
        return x + 1

    called = compiled(inner)

    def outer(x: int) -> int:
        return called(x) + 1

    told, calls = [], compiled(outer)
    before, stopped = clock.now(), CLOCK.stopped_s
    began = time.monotonic()
    with compiling_told(lambda: told.append("compiling")):
        assert calls(1) == 3
        assert calls(1) == 3
    seconds, out = time.monotonic() - began, CLOCK.stopped_s - stopped
    assert told == ["compiling"]
    assert 0 < out <= seconds  # inner within outer, so that their sum could be more
    assert clock.now() - before <= time.monotonic() - began - out + 1e-6
