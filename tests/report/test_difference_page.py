"""The page of a run beside its plan: one drawing, tables under titles, names inert."""

from __future__ import annotations

from pathlib import Path

import pytest

from parplan.measuring.differences import find_differences
from parplan.measuring.recording import Recording, Span
from parplan.report.difference_page import difference_html
from tests.browser import CHROMIUM, browser
from tests.pages import Page
from tests.plan_samples import HOSTILE, pipeline_plan


def page(suffix: str = "") -> str:
    """Return the page of a run that takes twice as long as planned."""
    plan = pipeline_plan(suffix=suffix)
    tick_s = plan.problem.tick_s
    spans = tuple(
        Span(
            view.devices[0],
            (view.operator,),
            view.operator[0].upper(),
            view.microbatch,
            2 * view.start * tick_s,
            2 * (view.end - view.start) * tick_s,
            0,
        )
        for view in plan.schedule.task_views()
    )
    recording = Recording(plan.problem.name, "by hand", spans)
    return difference_html(find_differences(plan, recording, warm_up=0))


def test_tables_stand_under_titles_and_the_makespan_comes_first() -> None:
    words = Page(page()).words
    assert {"Devices", "Actions that left their plan most"} <= set(words)
    assert any(
        said.startswith("Makespan: 53 s measured, 26.5 s planned (+100.0%)") for said in words
    )
    assert "Plan and run on one time axis" in words


def test_hostile_names_are_inert() -> None:
    calm, hostile = Page(page()), Page(page(HOSTILE))
    assert [e for e in hostile.elements if e[0] != "meta"] == [
        e for e in calm.elements if e[0] != "meta"
    ]


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")
def test_page_runs_in_a_browser_without_a_word_on_the_console(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(HOSTILE), encoding="utf-8")
    with browser() as shown:
        shown.open(tmp_path / "page.html")
        shown.wait_for("document.documentElement.dataset.drawn")
        # Plan and run are drawn: two titles and two devices each.
        assert shown.tell("document.querySelector('#view canvas').height") > 2 * 22 + 4 * 18
        assert shown.said == []
