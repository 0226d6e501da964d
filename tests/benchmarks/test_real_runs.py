"""The families of real runs say what they measure; their plans can be run as stages."""

from __future__ import annotations

import pytest

from benchmarks.cases import Context, load_suite
from benchmarks.emulating import PIPELINES, emulation_case, spearman, swapped_pairs
from benchmarks.report_details import detail_tables
from benchmarks.training_runs import CHAINS, TOLERANCE, chain_case


def test_every_schedule_and_pipeline_is_a_case() -> None:
    cases = {case.name: case.short for case in load_suite("real")}
    assert cases.keys() >= {f"torch/{name}" for name in (*CHAINS, "graph")}
    assert cases.keys() >= {f"emulation/{name}" for name in PIPELINES}
    assert cases["torch/1f1b"]
    assert cases["emulation/two"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 21], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),  # 1 - 6 * 2 / (4 * 15)
        ([1, 1, 2], [5, 5, 9], 1.0),
        ([1, 1], [1, 2], None),
    ],
)
def test_spearman_is_the_correlation_of_ranks(
    one: list[float], other: list[float], expected: float | None
) -> None:
    assert spearman(one, other) == (None if expected is None else pytest.approx(expected))


def test_pairs_count_as_swapped_where_both_sides_differ() -> None:
    assert swapped_pairs([1, 1, 2, 3], [5, 4, 7, 6]) == 1


@pytest.mark.slow
def test_the_short_cases_run() -> None:
    trained = chain_case(CHAINS["1f1b"], Context(None, 2.0))
    assert trained.value is not None
    assert trained.value <= TOLERANCE
    assert (trained.details["processes"], trained.details["parameters"]) == (2, 4)
    emulated = emulation_case(PIPELINES["two"], Context(None, 2.0))
    assert emulated.value is not None
    assert emulated.reference is not None
    assert emulated.value >= 0.98 * emulated.reference
    assert {row["schedule"].split()[0] for row in emulated.details["emulated"]} == {"plan", "1f1b"}
    told = "".join(detail_tables([{"case": "emulation/two", "details": emulated.details}]))
    assert "| plan |" in told
    assert "2 runs of 3 schedules, Spearman's rank correlation" in told
