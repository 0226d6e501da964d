"""Comparisons as data: what is refused, the file, the figures and the text."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from parplan.comparison import Comparison, Entry
from parplan.errors import InputError
from parplan.figures.comparison import (
    comparison_figures,
    comparison_table,
    entry_figures,
    json_comparison,
    verdict,
)
from parplan.figures.plan import figures_of
from parplan.plan_files.plan_file import load_comparison, save_comparison
from parplan.schedule import Schedule
from parplan.terminal import comparison_text
from tests.plan_samples import HOSTILE, comparison_sample, pipeline_plan


def test_it_begins_with_a_plan_of_its_problem() -> None:
    plan = pipeline_plan()
    for entries in ((), (Entry("plan", "", None),)):
        with pytest.raises(InputError, match="begins with a plan"):
            Comparison(plan.problem, entries)
    with pytest.raises(InputError, match="is for another problem"):
        Comparison(pipeline_plan(3).problem, (Entry("plan", "", plan),))


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    sample = comparison_sample()
    save_comparison(sample, tmp_path / "c.json")
    again = load_comparison(tmp_path / "c.json")
    assert again.problem == sample.problem
    for old, new in zip(sample.entries, again.entries, strict=True):
        assert (old.name, old.split, old.note) == (new.name, new.split, new.note)
        assert (old.plan is None) == (new.plan is None)
        if old.plan is not None and new.plan is not None:
            assert new.plan.problem == old.plan.problem
            assert new.plan.objectives == old.plan.objectives
            assert new.plan.bound == old.plan.bound
            assert new.plan.schedule.tasks.start.tolist() == old.plan.schedule.tasks.start.tolist()
    data = json.loads((tmp_path / "c.json").read_text())["comparison"]
    assert len(data["problems"]) == 2  # the plan's, shared, and that of the variant


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("problem", 9, "9 is not one of the 2 problems"),
        ("plan", {}, "entries"),
        ("name", 3, "name"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    path = tmp_path / "c.json"
    save_comparison(comparison_sample(), path)
    content = json.loads(path.read_text())
    content["comparison"]["entries"][1][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_comparison(path)


def test_figures_of_an_entry() -> None:
    # Two stages, 2 + 4 s of work for each of three microbatches and 1 s at the end, in 26.5 s;
    # the second device begins after 3 s (forward and transfer) and ends 4 s before the first.
    plan = pipeline_plan(2, 3)
    found = entry_figures(plan)
    assert found.uses.makespan_s == 26.5
    assert found.uses.bubble == pytest.approx(1 - 19 / 26.5)
    assert found.span_bubble == found.uses.bubble  # the first device is in use from start to end
    assert found.parameter_bytes == 2 * 2**30
    assert found.parameter_copies == 1.0
    assert found.fullest_share == max(d.peak_bytes for d in found.uses.devices) / (8 * 2**30)


def test_span_bubble_leaves_out_what_lies_before_and_after() -> None:
    plan = pipeline_plan(1, 2)
    tasks = plan.schedule.tasks
    late = attrs.evolve(tasks, start=tasks.start + 26)
    shifted = attrs.evolve(plan, schedule=Schedule(plan.problem, late, plan.schedule.transfers))
    found = entry_figures(shifted)
    assert found.span_bubble == 0.0
    assert found.uses.bubble == 0.5


def test_table_has_a_row_for_everything() -> None:
    figures = comparison_figures(comparison_sample(), "s")
    rows = {row[0]: row for row in comparison_table(figures).rows}
    assert list(rows) == ["plan", "1f1b", "two-way", "gpipe"]
    assert rows["plan"][2] == "26.5 s"
    assert rows["gpipe"] == ("gpipe", "best", *"---------", "does not fit memory")
    assert rows["two-way"][-1] == "two directions"
    assert verdict(figures) == (
        "The plan is 49.5% better than the best hand-made schedule, 1f1b on the uniform split."
    )
    text = comparison_text(figures, colour=False)
    assert "does not fit memory" in text
    assert "no plan of this problem does better than 13.25 s" in text


def test_names_are_made_plain_in_the_terminal() -> None:
    text = comparison_text(comparison_figures(comparison_sample(HOSTILE), "s"), colour=False)
    assert "\x1b" not in text


def test_json_has_null_where_there_is_no_figure() -> None:
    sample = comparison_sample()
    found = json_comparison(comparison_figures(sample, "s"), figures_of(sample.plan, "s"))
    assert found["objective"] == 26.5
    rows = {row["name"]: row for row in found["schedules"]}
    assert len({frozenset(row) for row in rows.values()}) == 1
    assert rows["gpipe"]["objective"] is None
    assert rows["gpipe"]["note"] == "does not fit memory"
    assert rows["1f1b"]["objective"] == 52.5
