"""The table of a comparison: who is better by how much, and why some are not there."""

from __future__ import annotations

import doctest

import attrs

from parplan.comparison import Comparison, Entry
from parplan.figures import gain
from parplan.figures.comparison import comparison_figures, comparison_table, verdict
from parplan.figures.plan import (
    baseline_table,
    figures_of,
    link_table,
    rows_without_schedule,
)
from tests.plan_samples import comparison_sample, pipeline_plan


def test_the_example_of_a_gain_holds() -> None:
    found = doctest.testmod(gain)
    assert found.attempted > 0
    assert found.failed == 0


def test_plans_come_first_and_are_marked_and_the_others_tell_their_gain() -> None:
    sample = comparison_sample()
    table = comparison_table(comparison_figures(sample, "s"))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert table.marked == {0}
    assert [row["schedule"] for row in rows] == ["plan", "1f1b", "two-way", "gpipe"]
    # 26.5 s against 52.5 s of the same problem; two directions are another problem.
    assert [row["gain"] for row in rows] == ["-", "49.5%", "-", "-"]
    assert "49.5% better" in verdict(comparison_figures(sample, "s"))
    assert rows[-1]["note"] == "does not fit memory"


def test_schedules_that_failed_alike_share_a_row() -> None:
    sample = comparison_sample()
    failed = [Entry(name, split, None, "too large")
              for split in ("best", "uniform") for name in ("a", "b")]  # fmt: skip
    late = Entry("c", "best", None, "no time")
    sample = Comparison(sample.problem, (*sample.entries[:1], *failed, late))
    table = comparison_table(comparison_figures(sample, "s"))
    assert [(row[0], row[1], row[-1]) for row in table.rows[1:]] == [
        ("2 others", "", "too large: a, b"),
        ("c", "best", "no time"),
    ]


def test_one_schedule_that_failed_for_both_splits_names_them() -> None:
    rows = list(rows_without_schedule([("a", "best", "late"), ("a", "uniform", "late")], 2))
    assert rows == [("a", "best, uniform", "-", "-", "late")]


def test_hand_made_schedules_of_a_plan_stand_better_ones_first() -> None:
    plan = comparison_sample().plan
    made = [{"name": name, "split": "best", "makespan_s": seconds, "note": ""}
            for name, seconds in (("slow", 53.0), ("fast", 26.5))]  # fmt: skip
    plan = attrs.evolve(plan, provenance={"baselines": made})
    rows = baseline_table(figures_of(plan, "s")).rows
    assert [(row[0], row[3]) for row in rows] == [
        ("this plan", ""),
        ("fast", "0.0%"),
        ("slow", "50.0%"),
    ]


def test_links_stand_busiest_first() -> None:
    # Activations take longer than gradients; links of one stage pair stand together in the cluster.
    rows = link_table(figures_of(pipeline_plan(3), "s")).rows
    assert [(row[0], row[3]) for row in rows] == [
        ("0to1", "3 s"), ("1to2", "3 s"), ("1to0", "1.5 s"), ("2to1", "1.5 s"),
    ]  # fmt: skip
