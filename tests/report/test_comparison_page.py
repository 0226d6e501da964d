"""The page of a comparison: its data draw every task, names are inert, nothing is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from parplan.api import explain, write_comparison
from parplan.comparison import Comparison, Entry
from parplan.figures.comparison import comparison_figures
from parplan.plans import Plan
from parplan.report.comparison_page import comparison_html
from parplan.report.packing import unpacked
from parplan.schedule import Schedule
from parplan.text import plain
from tests.browser import CHROMIUM, browser
from tests.pages import Page
from tests.plan_samples import HOSTILE, comparison_sample, pipeline_plan
from tests.strategies import schedules


def page_of(comparison: Comparison) -> Page:
    return Page(comparison_html(comparison_figures(comparison, "s")))


COLUMNS = ("wait", "length", "pass", "microbatch")


def bars(row: dict[str, Any]) -> list[tuple[int, int, int, int]]:
    """Return (start, end, pass, microbatch) of a row, as the script decodes it."""
    found = []
    for lane in row["lanes"]:
        at = 0
        columns = (unpacked(lane[name]).tolist() for name in COLUMNS)
        for wait, length, number, microbatch in zip(*columns, strict=True):
            start = at + wait
            at = start + length
            found.append((start, at, number, microbatch))
    return found


@settings(max_examples=30)
@given(schedules())
def test_bars_cover_exactly_what_runs(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    plan = Plan(schedule.problem, schedule, {"makespan": value})
    data = page_of(Comparison(schedule.problem, (Entry("plan", "", plan),))).data
    (entry,) = data["entries"]
    for number, row in enumerate(entry["devices"]):
        drawn = bars(row)
        tasks = [
            (start, end, microbatch)
            for index, (start, end, microbatch) in enumerate(
                zip(
                    schedule.tasks.start.tolist(),
                    schedule.ends.tolist(),
                    schedule.tasks.microbatch.tolist(),
                    strict=True,
                )
            )
            if number in schedule.alternative(index).devices
        ]
        assert sum(data["passes"][k][3] for _, _, k, _ in drawn) == len(tasks)
        for m in {m for _, _, m in tasks}:
            assert sum(b - a for a, b, _, n in drawn if n == m) == sum(
                end - start for start, end, n in tasks if n == m
            )
        for start, end, microbatch in tasks:
            assert any(a <= start and end <= b and n == microbatch for a, b, _, n in drawn)


def test_schedules_share_one_axis_and_those_that_failed_are_in_the_table() -> None:
    sample = comparison_sample()
    page = page_of(sample)
    data = page.data
    assert [entry["name"] for entry in data["entries"]] == ["plan", "1f1b", "two-way"]
    ends = [e.plan.schedule.makespan * e.plan.problem.tick_s for e in sample.entries if e.plan]
    assert data["horizon_s"] == max(ends)
    assert [len(entry["devices"]) for entry in data["entries"]] == [2, 2, 3]
    assert data["entries"][2]["note"].endswith("; two directions")
    assert {"gpipe", "does not fit memory"} <= set(page.words)


def test_only_the_better_split_is_drawn_but_both_are_in_the_table() -> None:
    sample = comparison_sample()
    twice = (*sample.entries, Entry("1f1b", "best", sample.entries[1].plan))
    page = page_of(Comparison(sample.problem, twice))
    drawn = [entry["title"] for entry in page.data["entries"]]
    assert drawn.count("1f1b, uniform split") == 1
    assert "1f1b, best split" not in drawn
    assert page.words.count("1f1b") == 2


def test_figures_keep_to_one_line_and_remarks_are_text() -> None:
    heads = [head["class"] for head in page_of(comparison_sample()).named("th")]
    assert heads == ["name"] * 2 + ["figure"] * 9 + ["note"]


def test_operators_that_follow_one_another_are_one_bar() -> None:
    # Two blocks on one device: forwards of one microbatch run in one go.
    data = page_of(comparison_sample()).data
    first = bars(data["entries"][0]["devices"][0])
    assert [data["passes"][number][3] for _, _, number, _ in first] == [1] * 7
    assert [data["kinds"][data["passes"][number][0]] for _, _, number, _ in first] == (
        ["forward"] * 3 + ["backward"] * 3 + ["optimizer"]
    )


def test_the_critical_path_runs_from_row_to_row_without_a_hole() -> None:
    sample = comparison_sample()
    explanation = explain(sample.plan)
    html = comparison_html(comparison_figures(sample, "s"), {0: explanation})
    first, *others = Page(html).data["entries"]
    path = {name: unpacked(text) for name, text in first["path"].items()}
    assert path["start"][0] == 0
    assert path["until"][-1] == first["end"] == sample.plan.schedule.makespan
    assert path["start"][1:].tolist() == path["until"][:-1].tolist()
    # All that is on the path runs in its row: work on devices 0 and 1, transfers on links behind.
    names = [row["name"] for row in (*first["devices"], *first["links"])]
    assert {names[row] for row in path["row"]} <= {s.place for s in explanation.steps}
    assert [entry["path"] for entry in others] == [None] * len(others)
    assert "What bounds each schedule" in html


def test_page_asks_for_nothing_else() -> None:
    html = comparison_html(comparison_figures(comparison_sample(), "s"))
    assert not re.search(r"https?:|[\"'(]//[a-z]|@import|url\(|src=|href=|fetch\(|XMLHttp", html)


def test_hostile_names_are_inert() -> None:
    calm, hostile = page_of(comparison_sample()), page_of(comparison_sample(HOSTILE))
    assert [e for e in hostile.elements if e[0] != "meta"] == [
        e for e in calm.elements if e[0] != "meta"
    ]
    assert hostile.named("img") == []
    assert hostile.data["entries"][1]["name"] == plain(f"1f1b{HOSTILE}")


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")
def test_page_runs_in_a_browser_without_a_word_on_the_console(tmp_path: Path) -> None:
    file = tmp_path / "comparison.html"
    sample = comparison_sample(HOSTILE)
    write_comparison(sample, file)
    height_of = "document.querySelector('#view canvas').height"
    with browser() as page:
        page.open(file)
        page.wait_for("document.documentElement.dataset.drawn")
        legend = page.tell("document.getElementById('legend').innerText")
        assert legend.split() == ["forward", "backward", "optimizer", "transfer"]
        # The canvas is as tall as its rows: three titles, seven devices; links come if asked for.
        height = page.tell(height_of)
        assert height > 3 * 22 + 7 * 18
        page.tell("document.getElementById('transfers').click()")
        page.wait_for(f"{height_of} > {height}")
        page.tell("document.getElementById('transfers').click()")
        # A chart of memory below each device.
        page.tell("document.getElementById('memory').click()")
        page.wait_for(f"{height_of} > {height} + 7 * 30")
        page.press("c")
        told = page.wait_for("document.getElementById('found').textContent")
        assert int(told.removesuffix(" steps")) >= len(sample.entries) - 1
        page.press("n")
        details = page.wait_for("document.getElementById('details').textContent")
        assert "on the critical path" in details
        assert page.said == []


def test_sixty_four_devices_stay_small() -> None:
    plan = pipeline_plan(64, 32)
    entries = tuple(Entry(f"plan {i}", "", plan) for i in range(13))
    html = comparison_html(comparison_figures(Comparison(plan.problem, entries), "s"))
    bars_drawn = 13 * 64 * (2 * 32 + 1)
    assert len(html) < 30 * bars_drawn + 100_000
