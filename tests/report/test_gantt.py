"""The Gantt chart as SVG: every bar where it belongs, small whatever the number of tasks."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings

from parplan.api import write_svg
from parplan.figures.plan import figures_of
from parplan.palette import COLOURS
from parplan.plans import Plan
from parplan.report.gantt import LABEL, TALL, gantt_svg
from parplan.schedule import Schedule
from parplan.text import plain
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.strategies import schedules

SVG = "{http://www.w3.org/2000/svg}"


def drawn(chart: str, kind: str, *, thin: bool = False) -> list[tuple[float, float]]:
    """Return (left, width) of each box of a kind on devices, or on links."""
    found = []
    for path in ET.fromstring(chart).iter("path"):
        if path.get("fill") == COLOURS[kind]:
            for x, w, h in re.findall(r"M([\d.]+) [\d.]+h([\d.]+)v([\d.]+)", path.get("d", "")):
                if (float(h) < TALL - 1) == thin:
                    found.append((float(x), float(w)))
    return found


def words(chart: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(chart).iter("text")]


def test_bars_lie_where_tasks_run() -> None:
    plan = pipeline_plan(2, 3)
    chart = gantt_svg(figures_of(plan, "s"), width=LABEL + 10 + 53 * 10)  # ten pixels a tick
    forward = sorted(drawn(chart, "forward"))
    assert [x for x, _ in forward] == [LABEL + 10 * t for t in (0, 4, 6, 8, 10, 14)]
    assert {w for _, w in forward} == {39.5}
    assert len(drawn(chart, "backward")) == 6
    assert len(drawn(chart, "transfer", thin=True)) == 6
    assert [w for w in words(chart) if w in ("0", "1", "2")] == [*"0", *"012" * 4]


def test_links_can_be_left_out() -> None:
    chart = gantt_svg(figures_of(pipeline_plan(), "s"), links=False)
    assert "0to1" not in words(chart)
    assert "transfer" not in words(chart)


def test_thin_bars_are_drawn_as_what_they_mostly_are() -> None:
    plan = pipeline_plan(2, 2000)
    chart = gantt_svg(figures_of(plan, "s"))
    assert len(chart) < 60_000
    # 2,000 forwards without a pause take a third of the time, less what the pipeline fills.
    covered = sum(w for _, w in drawn(chart, "forward"))
    assert covered == pytest.approx(2 * 800 / 3, rel=0.02)


@settings(max_examples=25)
@given(schedules())
def test_every_valid_schedule_has_a_chart(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    chart = gantt_svg(figures_of(Plan(schedule.problem, schedule, {"makespan": value}), "s"))
    assert ET.fromstring(chart).tag == "svg"
    shown = words(chart)
    assert all(device.name in shown for device in schedule.problem.cluster.devices)


def test_many_devices_are_cut_and_said_so() -> None:
    assert "and 6 more rows" in words(gantt_svg(figures_of(pipeline_plan(70, 1), "s"), links=False))


def test_hostile_names_are_text(tmp_path: Path) -> None:
    path = write_svg(pipeline_plan(suffix=HOSTILE), tmp_path / "chart.svg")
    root = ET.parse(path).getroot()
    assert {e.tag.removeprefix(SVG) for e in root.iter()} == {
        "svg", "title", "line", "text", "rect", "path",
    }  # fmt: skip
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == plain(f"pipeline{HOSTILE}")
