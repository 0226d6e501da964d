"""What a notebook shows: inert HTML, for any plan."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import attrs
import pytest

from parplan.api import unit_of
from parplan.figures.plan import figures_of
from parplan.plans import Plan
from parplan.report.notebook import plan_notebook
from parplan.schedule import Schedule
from tests.pages import Page
from tests.plan_samples import HOSTILE, comparison_sample, pipeline_plan


def test_a_plan_shows_its_figures_and_its_chart() -> None:
    page = Page(pipeline_plan()._repr_html_())
    text = " ".join(page.words)
    for wanted in ("makespan 26.5 s", "13.25 s", "gpu1", "forward"):
        assert wanted in text
    assert len(page.named("svg")) == 1
    assert page.named("path")


def test_a_comparison_shows_its_table() -> None:
    page = Page(comparison_sample()._repr_html_())
    text = " ".join(page.words)
    assert "1f1b" in text
    assert "does not fit memory" in text
    assert len(page.named("tr")) == 5


@pytest.mark.parametrize("suffix", ["", HOSTILE])
def test_names_are_inert(suffix: str) -> None:
    for html in (
        pipeline_plan(suffix=suffix)._repr_html_(),
        comparison_sample(suffix)._repr_html_(),
    ):
        page = Page(html)
        for tag in ("img", "script", "style", "iframe"):
            assert page.named(tag) == []
        assert all(not name.startswith("on") for _, found in page.elements for name in found)


def test_a_plan_of_many_devices_shows_its_chart_alone() -> None:
    plan = pipeline_plan(20, 2)
    page = Page(plan_notebook(figures_of(plan, unit_of(plan))))
    assert page.named("svg")
    assert not page.named("table")


def test_a_plan_that_is_not_whole_says_so() -> None:
    plan = pipeline_plan()
    cut = attrs.evolve(plan.schedule.tasks, **{
        name: getattr(plan.schedule.tasks, name)[1:]
        for name in ("operator", "microbatch", "alternative", "start")
    })  # fmt: skip
    broken = Plan(
        plan.problem, Schedule(plan.problem, cut, plan.schedule.transfers), plan.objectives
    )
    assert "the schedule is broken" in broken._repr_html_()


def test_the_chart_is_well_formed() -> None:
    html = pipeline_plan(suffix=HOSTILE)._repr_html_()
    chart = html[html.index("<svg") : html.index("</svg>") + 6]
    assert ET.fromstring(chart).tag.endswith("svg")
