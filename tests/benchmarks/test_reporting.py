from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Context, load_suite
from benchmarks.reporting import CHROMIUM, SIZES, drawn_s, report_case
from parplan.errors import InputError


def test_sizes_are_what_the_names_say() -> None:
    for tasks, (devices, microbatches) in SIZES.items():
        assert tasks <= 3 * devices * microbatches <= 1.05 * tasks
    assert {case.name for case in load_suite("real")} >= {f"report/{tasks}" for tasks in SIZES}


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")
def test_a_report_is_timed_and_a_page_without_one_is_refused(tmp_path: Path) -> None:
    found = report_case(2, 3, Context(None, 1.0))
    assert found.value is not None
    assert found.value > 0
    assert found.details["tasks"] == 18
    empty = tmp_path / "empty.html"
    empty.write_text("<p>nothing</p>", encoding="utf-8")
    with pytest.raises(InputError, match="drew no timeline"):
        drawn_s(empty, tmp_path / "profile")
