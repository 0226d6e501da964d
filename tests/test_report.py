from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings

from parplan.figures import figures_of
from parplan.plans import Plan
from parplan.report.page import report_html
from parplan.report.trace import trace_json
from parplan.reporting import memory_over_time
from parplan.schedule import Schedule
from parplan.text import plain
from tests.pages import CHROMIUM, Page, browse
from tests.plan_samples import HOSTILE, pipeline_plan
from tests.strategies import schedules


def page_of(plan: Plan) -> Page:
    return Page(report_html(figures_of(plan, "s")))


def test_page_asks_for_nothing_else() -> None:
    html = report_html(figures_of(pipeline_plan(), "s"))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|src=|href=|fetch\(|XMLHttp", html)


def test_policy_lets_only_our_script_and_style_run() -> None:
    page = page_of(pipeline_plan())
    policy = next(m for m in page.named("meta") if "http-equiv" in m)["content"]
    assert policy is not None
    for tag, source in (("style", "style-src"), ("script", "script-src")):
        text = next(t for name, t in reversed(page.raw) if name == tag)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_hostile_names_are_inert() -> None:
    calm, hostile = page_of(pipeline_plan()), page_of(pipeline_plan(suffix=HOSTILE))
    assert [e for e in hostile.elements if e[0] != "meta"] == [
        e for e in calm.elements if e[0] != "meta"
    ]
    assert hostile.named("img") == []
    assert len(hostile.named("script")) == 2
    assert hostile.data["operators"][0] == plain(f"f.0{HOSTILE}")
    assert any(plain(f"gpu0{HOSTILE}") in words for words in hostile.words)


def test_data_holds_the_whole_schedule() -> None:
    plan = pipeline_plan(3, 4)
    data = page_of(plan).data
    assert data["tasks"]["operator"] == plan.schedule.tasks.operator.tolist()
    assert data["horizon"] == plan.schedule.makespan
    drawn = sorted(item for row in data["devices"] for item in row["item"])
    assert drawn == list(range(len(plan.schedule.tasks)))
    sent = sorted(-1 - item for row in data["links"] for item in row["item"])
    assert sent == list(range(len(plan.schedule.transfers)))
    assert [m["limit"] for m in data["memory"]] == [8 * 2**30] * 3
    ticks, used = memory_over_time(plan.schedule, "gpu1")
    assert data["memory"][1]["at"] == ticks.tolist()
    assert data["memory"][1]["bytes"] == used.tolist()


def test_tables_show_value_bound_gap_baselines_and_provenance() -> None:
    row = {"name": "1f1b", "split": "best", "makespan_s": 30.0, "peak_memory_bytes": 2**30}
    plan = attrs.evolve(pipeline_plan(), provenance={"baselines": [row], "seed": "0xfeed"})
    text = " ".join(page_of(plan).words)
    for wanted in ("26.5 s", "13.25 s", "50.0%", "1f1b", "30 s", "0xfeed", "gpu1", "0to1"):
        assert wanted in text


@settings(max_examples=20)
@given(schedules())
def test_every_valid_schedule_has_report_and_trace(schedule: Schedule) -> None:
    value = schedule.makespan * schedule.problem.tick_s
    plan = Plan(schedule.problem, schedule, {"makespan": value})
    assert len(page_of(plan).data["devices"]) == len(schedule.problem.cluster.devices)
    assert json.loads(trace_json(plan))["traceEvents"]


def test_trace_has_every_bar_once_and_threads_without_overlap() -> None:
    plan = pipeline_plan(3, 4)
    events = json.loads(trace_json(plan))["traceEvents"]
    bars = [e for e in events if e["ph"] == "X"]
    assert len(bars) == len(plan.schedule.tasks) + len(plan.schedule.transfers)
    makespan_us = plan.value * 1e6
    assert max(e["ts"] + e["dur"] for e in bars) == pytest.approx(makespan_us)
    threads = {(e["pid"], e["tid"]) for e in bars}
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert threads == named
    for thread in threads:
        mine = sorted((e["ts"], e["dur"]) for e in bars if (e["pid"], e["tid"]) == thread)
        assert all(a + d <= b for (a, d), (b, _) in pairwise(mine))
    peak = max(e["args"]["bytes"] for e in events if e["name"] == "memory of gpu1")
    assert peak == memory_over_time(plan.schedule, "gpu1")[1].max()


# -- in a browser --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")
def test_report_runs_in_a_browser_without_console_messages(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<script>console.error('seen')</script>", encoding="utf-8")
    assert "CONSOLE" in browse(page, "--dump-dom").stderr  # or silence would prove nothing
    page.write_text(report_html(figures_of(pipeline_plan(3, 4, HOSTILE), "s")), encoding="utf-8")
    done = browse(page, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    shown = Page(done.stdout)
    assert shown.named("img") == []
    legend = [words for words in shown.words if words in ("forward", "optimizer", "transfer")]
    assert legend == ["forward", "optimizer", "transfer"]
    assert shown.named("canvas")[0]["width"] not in (None, "0")
