"""Compiled functions are kept for later processes where they can be, and run where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from parplan import clock
from parplan.clock import CLOCK
from parplan.system.compiling import compiled, compiling_told, kernel_part, put_into

KERNEL = """
from parplan.system.compiling import compiled


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
    began, before, stopped = time.monotonic(), clock.now(), CLOCK.stopped_s
    with compiling_told(lambda: told.append("compiling")):
        assert calls(1) == 3
        assert calls(1) == 3
    counted, out = clock.now() - before, CLOCK.stopped_s - stopped
    seconds = time.monotonic() - began
    assert told == ["compiling"]
    assert out > 0
    assert counted + out <= seconds + 1e-6  # inner within outer, whose sum could be more


def test_a_part_of_kernels_is_compiled_with_them_and_runs_in_python() -> None:
    @kernel_part
    def twice(x: int) -> int:
        return 2 * x

    def outer(x: int) -> int:
        return twice(x) + 1

    assert compiled(outer)(4) == outer(4) == 9
    source, target, plain = np.arange(5), np.zeros(5, np.int64), np.zeros(5, np.int64)
    compiled(put_into)(target, source)
    put_into(plain, source)
    assert target.tolist() == plain.tolist() == source.tolist()
